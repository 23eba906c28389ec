/** The training loop: from weights to better weights. */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import type { Graph, Weights } from '../model/graph.js';
import { WeightAverage } from './averaging.js';
import { augment } from './datasets/augmentation.js';
import type { Dataset, Split } from './datasets/dataset.js';
import type { Tensors } from './layers/layer.js';
import { createOptimizer, replace } from './optimizer.js';
import { forward } from './pass.js';
import { Random } from './random.js';
import { TrainingCancelled, type TrainRequest } from './request.js';
import { learningRate } from './schedule.js';
import { type Step, StepRule } from './step.js';
import { toTensors, toWeights } from './weights.js';

export interface FitProgress {
  epoch: number;
  /** Steps done, of all epochs. */
  step: number;
  steps: number;
  loss: number;
  /** On the validation part, at the end of the last epoch. */
  accuracy: number | null;
}

export interface FitHooks {
  onStep(progress: FitProgress): void;
  isCancelled(): boolean;
}

export interface Fitted {
  weights: Weights;
  /** Training examples that were used. */
  examples: number;
  history: Record<string, number>[];
}

// Apart, so that the same seed never gives two purposes the same numbers.
const STREAM = { shuffle: 1, augmentation: 2, dropout: 3, precision: 4 };
const VALIDATION_BATCH = 250;

/** @throws TrainingCancelled; Error where the loss is no longer finite */
export async function fit(
  graph: Graph,
  start: Weights,
  dataset: Dataset,
  request: TrainRequest,
  hooks: FitHooks,
): Promise<Fitted> {
  const { epochs, seed } = request;
  const examples = Math.min(dataset.train.size, request.limit ?? Number.POSITIVE_INFINITY);
  const size = Math.min(request.batch_size, examples);
  // A last, smaller batch is left out: the shuffle gives its examples another place in the next epoch.
  const perEpoch = Math.floor(examples / size);
  const steps = perEpoch * epochs;
  const weights = toTensors(start);
  const rule = new StepRule(graph, request.regularizer);
  const optimizer = createOptimizer(request.optimizer, rule.net.kernels);
  const average = request.weight_averaging > 0 ? new WeightAverage(request.weight_averaging, weights) : null;
  const result = average?.weights ?? weights;
  const history: Record<string, number>[] = [];
  const order = Uint32Array.from({ length: examples }, (_, i) => i);
  let accuracy: number | null = null;
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      new Random(seed, STREAM.shuffle, epoch).shuffle(order);
      const pixels = new Random(seed, STREAM.augmentation, epoch);
      const active = epoch >= request.regularizer.start_epoch;
      const means = new Means();
      for (let i = 0; i < perEpoch; i++) {
        if (hooks.isCancelled()) throw new TrainingCancelled();
        const step = epoch * perEpoch + i;
        const taken = await dataset.train.batch(order.subarray(i * size, (i + 1) * size));
        const { input, labels } = augment(taken, dataset, pixels);
        const x = tf.tensor(input, [size, ...dataset.inputShape]);
        const seeds = [seed, STREAM.dropout, step];
        const batch = { x, labels, seeds, smoothing: request.label_smoothing };
        const rate = learningRate(request.learning_rate, step, steps, request.schedule);
        const taking = rule.gradients(weights, batch, step, [seed, STREAM.precision, step], active);
        optimizer.apply(weights, taking.gradients, rate);
        for (const [name, moved] of Object.entries(taking.moving)) replace(weights, name, moved);
        average?.add(weights);
        tf.dispose([taking.gradients, x]);
        if (!Number.isFinite(taking.loss)) throw diverged(taking.loss, epoch, i);
        means.add(taking);
        hooks.onStep({ epoch, step: step + 1, steps, loss: means.loss, accuracy });
        await setImmediate();
      }
      accuracy = await floatAccuracy(graph, result, dataset, dataset.validation, hooks);
      history.push({ epoch, ...means.values(), validation_accuracy: accuracy });
      hooks.onStep({ epoch, step: (epoch + 1) * perEpoch, steps, loss: means.loss, accuracy });
    }
    return { weights: toWeights(result), examples, history };
  } finally {
    rule.dispose();
    optimizer.dispose();
    average?.dispose();
    tf.dispose(weights);
  }
}

/** Share of a split that the float net classifies rightly. */
export async function floatAccuracy(
  graph: Graph,
  weights: Tensors,
  dataset: Dataset,
  split: Split,
  hooks: Pick<FitHooks, 'isCancelled'>,
): Promise<number> {
  let right = 0;
  for (let from = 0; from < split.size; from += VALIDATION_BATCH) {
    if (hooks.isCancelled()) throw new TrainingCancelled();
    const size = Math.min(VALIDATION_BATCH, split.size - from);
    const { input, labels } = await split.batch(Uint32Array.from({ length: size }, (_, i) => from + i));
    const best = tf.tidy(() => {
      const x = tf.tensor(input, [size, ...dataset.inputShape]);
      return tf.argMax(forward(graph, weights, x, { training: false }).logits, 1).dataSync();
    });
    for (let i = 0; i < size; i++) if (best[i] === labels[i]) right++;
    await setImmediate();
  }
  return right / split.size;
}

/** Means over the steps of an epoch. */
class Means {
  #steps = 0;
  #loss = 0;
  #regularized = 0;
  #normWeights = 0;
  #normActivations = 0;
  #kurtosis: number | null = null;

  add({ loss, normWeights, normActivations, kurtosis }: Step): void {
    this.#steps++;
    this.#loss += loss;
    this.#kurtosis = kurtosis;
    if (normWeights === null || normActivations === null) return;
    this.#regularized++;
    this.#normWeights += normWeights;
    this.#normActivations += normActivations;
  }

  get loss(): number {
    return this.#loss / this.#steps;
  }

  values(): Record<string, number> {
    const values: Record<string, number> = { loss: this.loss };
    if (this.#regularized > 0) {
      values.norm_weights = this.#normWeights / this.#regularized;
      values.norm_activations = this.#normActivations / this.#regularized;
    }
    // Of the last step: it moves slowly.
    if (this.#kurtosis !== null) values.kurtosis = this.#kurtosis;
    return values;
  }
}

function diverged(loss: number, epoch: number, step: number): Error {
  return new Error(
    `training diverged: the loss is ${loss} at step ${step} of epoch ${epoch}; ` +
      'a smaller learning_rate or a weaker regularizer may help',
  );
}
