/** One step's gradients by the means that a request asks for. */
import * as tf from '@tensorflow/tfjs-core';
import type { Graph } from '../model/graph.js';
import type { Precision, Width } from '../quantize/precision.js';
import { FakeQuantizer } from './fake-quantizer.js';
import { kurtosisGradients } from './kurtosis.js';
import type { Tensors } from './layers/layer.js';
import { Random } from './random.js';
import { type Batch, type Regularized, regularized, type StepGradients, stepGradients } from './regularizer.js';
import { kindsOf, type RegularizerSettings } from './request.js';
import { sharpnessAwareGradients } from './sam.js';
import { StrengthRule } from './strength.js';

const OFF = { lambdaWeights: 0, lambdaActivations: 0 };

/** What a step was like, beside its gradients. */
export interface Step extends StepGradients {
  /** Mean kurtosis of the kernels; null where it was not asked for. */
  kurtosis: number | null;
}

/**
 * The means and how they combine. `any-width` and `qat` choose the precision of a step; at 2..8 bits the step goes through
 * the fake-quantised net. `gradient-l1` acts in the steps that are float ones, which `any-width` has too if its widths hold
 * 32. `kurtosis` acts in every step.
 */
export class StepRule {
  readonly net: Regularized;
  readonly strength: StrengthRule;
  readonly #settings: RegularizerSettings;
  readonly #quantizer: FakeQuantizer;

  constructor(graph: Graph, settings: RegularizerSettings) {
    this.net = regularized(graph);
    this.#settings = settings;
    this.strength = new StrengthRule(settings);
    this.#quantizer = new FakeQuantizer(this.net);
  }

  /** So that an epoch depends on no more than weights and named states. */
  beginEpoch(): void {
    this.#quantizer.forget();
  }

  /**
   * @param step counts from 0 over the whole training
   * @param seeds of the step's draw
   * @param active false before `start_epoch`
   * @returns gradients and averages by weight name; the caller disposes of them
   */
  gradients(weights: Tensors, batch: Batch, step: number, seeds: number[], active: boolean): Step {
    if (!active) return { ...stepGradients(this.net, weights, batch, OFF), kurtosis: null };
    const precision = drawPrecision(this.#settings, new Random(...seeds));
    const result = precision === null ? this.#float(weights, batch) : this.#rounded(weights, batch, step, precision);
    if (!kindsOf(this.#settings).includes('kurtosis')) return { ...result, kurtosis: null };
    return { ...result, kurtosis: this.#addKurtosis(weights, result.gradients) };
  }

  dispose(): void {
    this.#quantizer.dispose();
  }

  #float(weights: Tensors, batch: Batch): StepGradients {
    const settings = this.#settings;
    if (!kindsOf(settings).includes('gradient-l1')) return stepGradients(this.net, weights, batch, OFF);
    if (settings.form === 'sam') {
      return sharpnessAwareGradients(this.net, weights, batch, {
        radius: settings.sam_radius,
        bits: settings.sam_bits,
      });
    }
    if (this.strength.isOff) return stepGradients(this.net, weights, batch, OFF);
    return stepGradients(this.net, weights, batch, (measured) => this.strength.at(measured));
  }

  #rounded(weights: Tensors, batch: Batch, step: number, precision: Precision): StepGradients {
    const numbers = { loss: 0, normWeights: null, normActivations: null };
    const tensors = tf.tidy(() => {
      const quantization = this.#quantizer.at(precision, weights, batch.x, step);
      const { loss, ...rest } = stepGradients(this.net, weights, { ...batch, quantization }, OFF);
      numbers.loss = loss;
      return { gradients: rest.gradients, moving: rest.moving };
    });
    return { ...numbers, ...tensors };
  }

  #addKurtosis(weights: Tensors, gradients: Tensors): number {
    const { kernels } = this.net;
    const penalty = kurtosisGradients(
      kernels.map((name) => weights[name]),
      this.#settings.lambda_kurtosis,
    );
    for (const [i, name] of kernels.entries()) {
      const sum = tf.add(gradients[name], penalty.gradients[i]);
      tf.dispose([gradients[name], penalty.gradients[i]]);
      gradients[name] = sum;
    }
    const [mean] = penalty.mean.dataSync();
    penalty.mean.dispose();
    return mean;
  }
}

/**
 * The precision of a step, null for float. any-width: the weight width is one of `widths`, each as likely; the activation width
 * is the same or 8, each as likely. qat: always the one width, for both.
 */
export function drawPrecision(settings: RegularizerSettings, random: Random): Precision | null {
  const kinds = kindsOf(settings);
  if (kinds.includes('qat')) return square(settings.qat_bits);
  if (!kinds.includes('any-width')) return null;
  const width = settings.widths[random.below(settings.widths.length)];
  if (width > 8) return null;
  return random.below(2) === 0 ? square(width) : { weightBits: width as Width, activationBits: 8 };
}

function square(bits: number): Precision {
  return { weightBits: bits as Width, activationBits: bits as Width };
}
