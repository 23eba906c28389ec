/** The training loop: from weights to better weights. */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import type { Graph, Weights } from '../model/graph.js';
import { WeightAverage } from './averaging.js';
import { Checkpoint, type Course, trainingKey } from './checkpoint.js';
import { augment } from './datasets/augmentation.js';
import type { Dataset, Split } from './datasets/dataset.js';
import type { Tensors } from './layers/layer.js';
import { Means } from './means.js';
import { createOptimizer } from './optimizer.js';
import { forward } from './pass.js';
import { Random } from './random.js';
import { type Notice, TrainingCancelled, type TrainRequest } from './request.js';
import { learningRate } from './schedule.js';
import { replace, type Stateful, stateOf } from './state.js';
import { StepRule } from './step.js';
import { toTensors, toWeights } from './weights.js';

export interface FitProgress {
  epoch: number;
  /** Steps done, of all epochs. */
  step: number;
  steps: number;
  /** Of the epoch so far. */
  loss: number;
  /** ‖∇_w CE‖₁ and Σ‖∇_y CE‖₁, of the epoch so far; null where no step measured them. */
  normWeights: number | null;
  normActivations: number | null;
  /** On the validation part, at the end of the last epoch. */
  accuracy: number | null;
}

export interface FitHooks {
  /** After every step and every epoch; before the first step where a checkpoint is gone on from. */
  onStep(progress: FitProgress): void;
  /** The training can go on from here: what the last {@link onStep} told is in the checkpoint. */
  onCheckpoint(): void;
  onNotice: Notice;
  isCancelled(): boolean;
}

export interface Fitted {
  weights: Weights;
  /** Training examples that were used. */
  examples: number;
  history: Record<string, number>[];
  /** That the epochs took, those before a checkpoint included. */
  seconds: number;
}

// Apart, so that the same seed never gives two purposes the same numbers.
const STREAM = { shuffle: 1, augmentation: 2, dropout: 3, precision: 4 };
const VALIDATION_BATCH = 250;

export interface FitCheckpoint {
  path: string;
  /** Whose arithmetic the training has; see `Backend.label`. */
  backend: string;
  /** Of this project, where it is known: what another one computes may differ. */
  commit?: string | null;
}

/**
 * @param checkpoint a file that the training goes on from where it fits, and that holds it after every epoch
 * @throws TrainingCancelled; Error where the loss is no longer finite
 */
export async function fit(
  graph: Graph,
  start: Weights,
  dataset: Dataset,
  request: TrainRequest,
  hooks: FitHooks,
  checkpoint?: FitCheckpoint,
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
  // All that one epoch leaves for the next, but the course and the order of the examples.
  const states: Record<string, Stateful> = { weights: stateOf(weights), optimizer, strength: rule.strength };
  if (average !== null) states.average = average;
  const order = Uint32Array.from({ length: examples }, (_, i) => i);
  try {
    const file =
      checkpoint === undefined
        ? null
        : new Checkpoint(
            checkpoint.path,
            trainingKey(request, graph, start, dataset, checkpoint),
            states,
            hooks.onNotice,
          );
    const course: Course = (await file?.load()) ?? { epoch: 0, history: [], accuracy: null, seconds: 0 };
    const began = performance.now() - course.seconds * 1000;
    for (let epoch = 0; epoch < course.epoch; epoch++) new Random(seed, STREAM.shuffle, epoch).shuffle(order);
    if (course.epoch > 0) hooks.onStep(resumed(course, perEpoch, steps));
    for (let epoch = course.epoch; epoch < epochs; epoch++) {
      new Random(seed, STREAM.shuffle, epoch).shuffle(order);
      rule.beginEpoch();
      const pixels = new Random(seed, STREAM.augmentation, epoch);
      const active = epoch >= request.regularizer.start_epoch;
      const means = new Means();
      const tell = (step: number) => {
        const { loss, normWeights, normActivations } = means;
        hooks.onStep({ epoch, step, steps, loss, normWeights, normActivations, accuracy: course.accuracy });
      };
      for (let i = 0; i < perEpoch; i++) {
        if (hooks.isCancelled()) throw new TrainingCancelled();
        const step = epoch * perEpoch + i;
        const taken = await dataset.train.batch(order.subarray(i * size, (i + 1) * size));
        const { input, labels } = augment(taken, dataset, pixels);
        const x = tf.tensor(input, [size, ...dataset.inputShape]);
        const seeds = [seed, STREAM.dropout, step];
        const batch = { x, labels, seeds, smoothing: request.label_smoothing, exampleWeights: weigh(labels, dataset) };
        const rate = learningRate(request.learning_rate, step, steps, request.schedule);
        const taking = rule.gradients(weights, batch, step, [seed, STREAM.precision, step], active);
        optimizer.apply(weights, taking.gradients, rate);
        for (const [name, moved] of Object.entries(taking.moving)) replace(weights, name, moved);
        average?.add(weights);
        tf.dispose([taking.gradients, x]);
        if (!Number.isFinite(taking.loss)) throw diverged(taking.loss, epoch, i);
        means.add(taking);
        tell(step + 1);
        await setImmediate();
      }
      course.accuracy = await floatAccuracy(graph, result, dataset, dataset.validation, hooks);
      course.history.push({ epoch, ...means.values(), validation_accuracy: course.accuracy });
      course.epoch = epoch + 1;
      course.seconds = (performance.now() - began) / 1000;
      tell(course.epoch * perEpoch);
      if (await file?.save(course)) hooks.onCheckpoint();
    }
    return { weights: toWeights(result), examples, history: course.history, seconds: course.seconds };
  } finally {
    rule.dispose();
    optimizer.dispose();
    average?.dispose();
    tf.dispose(weights);
  }
}

function weigh(labels: Int32Array, { lossWeights }: Dataset): Float32Array | undefined {
  return !lossWeights ? undefined : Float32Array.from(labels, (label) => lossWeights[label]);
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

/** What the epochs before a checkpoint came to. */
function resumed({ epoch, history, accuracy }: Course, perEpoch: number, steps: number): FitProgress {
  const { loss, norm_weights = null, norm_activations = null } = history[epoch - 1];
  const norms = { normWeights: norm_weights, normActivations: norm_activations };
  return { epoch: epoch - 1, step: epoch * perEpoch, steps, loss, ...norms, accuracy };
}

function diverged(loss: number, epoch: number, step: number): Error {
  return new Error(
    `training diverged: the loss is ${loss} at step ${step} of epoch ${epoch}; ` +
      'a smaller learning_rate or a weaker regularizer may help',
  );
}
