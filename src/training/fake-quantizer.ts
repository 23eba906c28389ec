/**
 * Training through the quantised net (Jacob et al. 2018): kernels and activations are rounded as serving would round them, and
 * the gradient passes as if they were not (straight-through estimator, Bengio et al. 2013), but for activations that were
 * clipped. Scales and ranges are those of the least squared error, which serving takes where nothing is chosen, from the weights
 * as they are and from activations of the float net.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ActivationRange } from '../model/manifest.js';
import { fuseGraph } from '../quantize/fuse.js';
import type { Precision } from '../quantize/precision.js';
import { activationRange, type CodesParameters, codesParameters, extremes, Histogram } from '../quantize/ranges.js';
import { channelScale } from '../quantize/scales.js';
import type { Tensors } from './layers/layer.js';
import { forward, type Quantization } from './pass.js';
import type { Regularized } from './regularizer.js';
import { replace } from './state.js';

/** Steps that scales and ranges are used for before they are found anew: the weights hardly move in so few. */
const REFRESH = 25;
/** Images of a batch that the activation ranges are read from. */
const RANGE_IMAGES = 64;

export class FakeQuantizer {
  readonly #net: Regularized;
  /** By activation: the one whose range it has. */
  readonly #rangeOf: ReadonlyMap<string, string>;
  #ranges: Record<string, ActivationRange> = {};
  #rangesAt = Number.NEGATIVE_INFINITY;
  /** By width: the step of the scales. */
  readonly #scalesAt = new Map<number, number>();
  /** By width and kernel. */
  readonly #scales: Tensors = {};

  constructor(net: Regularized) {
    this.#net = net;
    const { tensors } = fuseGraph(net.graph);
    this.#rangeOf = new Map(net.activations.map((name) => [name, tensors.get(name)?.rangeOf ?? name]));
  }

  /**
   * How a pass at a precision of 2..8 bits computes. Call it inside `tf.tidy`: the kernels live as long as that scope.
   * @param x [batch, ...input shape], that ranges are read from when they are due
   */
  at({ weightBits, activationBits }: Precision, weights: Tensors, x: tf.Tensor, step: number): Quantization {
    if (step - this.#rangesAt >= REFRESH) {
      this.#ranges = this.#measureRanges(weights, x);
      this.#rangesAt = step;
    }
    if (step - (this.#scalesAt.get(weightBits) ?? Number.NEGATIVE_INFINITY) >= REFRESH) {
      for (const name of this.#net.kernels) {
        const scales = channelScales(weights[name], this.#net.outputAxes(name), weightBits);
        replace(this.#scales, `${weightBits} ${name}`, scales);
      }
      this.#scalesAt.set(weightBits, step);
    }
    const kernels: Tensors = {};
    for (const name of this.#net.kernels) {
      kernels[name] = roundTo(weights[name], this.#scales[`${weightBits} ${name}`], weightBits);
    }
    const activations = new Map<string, CodesParameters>();
    for (const name of this.#net.activations) {
      const [low, high] = this.#ranges[this.#rangeOf.get(name) as string].clip[activationBits];
      activations.set(name, codesParameters(low, high, activationBits));
    }
    return { kernels, activations };
  }

  /** Ranges and scales are found anew at the next pass. */
  forget(): void {
    this.#rangesAt = Number.NEGATIVE_INFINITY;
    this.#scalesAt.clear();
  }

  dispose(): void {
    tf.dispose(this.#scales);
  }

  #measureRanges(weights: Tensors, x: tf.Tensor): Record<string, ActivationRange> {
    const ranges: Record<string, ActivationRange> = {};
    tf.tidy(() => {
      const some = tf.slice(x, 0, Math.min(RANGE_IMAGES, x.shape[0]));
      // Batch norms that are left go by the batch, as in the step itself: their moving averages lag behind.
      const { outputs } = forward(this.#net.graph, weights, some, { training: true, dropout: false });
      for (const name of this.#net.activations) ranges[name] = rangeOf(outputs[name].dataSync());
    });
    return ranges;
  }
}

function rangeOf(values: ArrayLike<number>): ActivationRange {
  const histogram = new Histogram(...extremes(values));
  histogram.add(values);
  return activationRange(histogram);
}

/** Serving's scale of every output channel, in a shape that multiplies the kernel: TF.js keeps output channels last. */
function channelScales(kernel: tf.Tensor, axes: 1 | 2, bits: number): tf.Tensor {
  const data = kernel.dataSync() as Float32Array;
  const outer = kernel.shape.slice(-axes);
  const rows = outer.reduce((a, b) => a * b, 1);
  const columns = data.length / rows;
  const channel = new Float32Array(columns);
  const scales = Float32Array.from({ length: rows }, (_, row) => {
    for (let column = 0; column < columns; column++) channel[column] = data[column * rows + row];
    return channelScale(channel, bits, 'squared-error');
  });
  return tf.tensor(scales, outer);
}

/** s·clamp(round(w/s), −2^(b−1), 2^(b−1) − 1), half to even. */
function roundTo(kernel: tf.Tensor, scales: tf.Tensor, bits: number): tf.Tensor {
  const top = 2 ** (bits - 1) - 1;
  return tf.mul(tf.clipByValue(tf.round(tf.div(kernel, scales)), -top - 1, top), scales);
}
