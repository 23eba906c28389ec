/**
 * Operations that a backend may have in one piece, as kernels under names of our own; composed of TF.js ops where it has none.
 * Call them inside `tf.tidy`.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Inputs x [..., c], gamma [c], beta [c]; attr epsilon; gives y, mean [c], biased variance [c], and what the gradient takes. */
export const BATCH_NORM_TRAINING = 'BatchNormTraining';
/** Inputs dy, x, gamma, mean, variance and what else the forward pass saved (saved0, …); attr epsilon; gives dx, dGamma, dBeta. */
export const BATCH_NORM_TRAINING_GRAD = 'BatchNormTrainingGrad';
/** Input x; attr top: x between 0 and top. */
export const BOUNDED_RELU = 'BoundedRelu';
/** Inputs dy, y; attr top, which may be infinite: dy where 0 < y < top, and 0 elsewhere. */
export const RELU_GRAD = 'ReluGradient';
/** Input x [..., c]: the sum over all axes but the last, [c]. */
export const CHANNEL_SUMS = 'ChannelSums';

/** Input x: Σ|x|, a scalar. */
export const ABSOLUTE_SUM = 'AbsoluteSum';
/** Input x: Σx², a scalar. */
export const SQUARE_SUM = 'SquareSum';
/** Inputs x, g of one shape; attr step: x + step·sign(g). */
export const ADD_SIGN = 'AddSign';

/** Input x; attrs low, high, bits: the nearest of 2^bits equal steps from low to high. */
export const FAKE_QUANTIZE = 'FakeQuantize';
/** Inputs dy, x; attrs as {@link FAKE_QUANTIZE}: dy where low ≤ x ≤ high, and 0 elsewhere. */
export const FAKE_QUANTIZE_GRAD = 'FakeQuantizeGradient';

export interface BatchNormTraining {
  y: tf.Tensor;
  mean: tf.Tensor;
  /** Of the batch, biased: the mean square deviation. */
  variance: tf.Tensor;
  backward(dy: tf.Tensor): { x: tf.Tensor; gamma: tf.Tensor; beta: tf.Tensor };
}

/**
 * Batch normalisation over the last axis by the batch's mean μ and (biased) variance σ². With x̂ = (x − μ)/√(σ² + ε):
 * y = γx̂ + β, dx = γ/√(σ² + ε)·(dy − mean(dy) − x̂·mean(dy·x̂)) (Ioffe and Szegedy 2015, simplified).
 */
export function batchNormTraining(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): BatchNormTraining {
  if (!has(BATCH_NORM_TRAINING)) return composedBatchNorm(x, gamma, beta, epsilon);
  const [y, mean, variance, ...saved] = run(BATCH_NORM_TRAINING, { x, gamma, beta }, { epsilon });
  return {
    y,
    mean,
    variance,
    backward(dy) {
      const named = Object.fromEntries(saved.map((tensor, i) => [`saved${i}`, tensor]));
      const [dx, dGamma, dBeta] = run(
        BATCH_NORM_TRAINING_GRAD,
        { dy, x, gamma, mean, variance, ...named },
        { epsilon },
      );
      return { x: dx, gamma: dGamma, beta: dBeta };
    },
  };
}

function composedBatchNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): BatchNormTraining {
  const count = x.size / x.shape[x.rank - 1];
  const mean = tf.div(channelSums(x), count);
  const centred = tf.sub(x, mean);
  const variance = tf.div(channelSums(tf.square(centred)), count);
  const inverse = tf.rsqrt(tf.add(variance, epsilon));
  const normal = tf.mul(centred, inverse);
  return {
    y: tf.add(tf.mul(normal, gamma), beta),
    mean,
    variance,
    backward(dy) {
      const sumDy = channelSums(dy);
      const sumDyNormal = channelSums(tf.mul(dy, normal));
      const inner = tf.sub(tf.sub(dy, tf.div(sumDy, count)), tf.mul(normal, tf.div(sumDyNormal, count)));
      return { x: tf.mul(inner, tf.mul(inverse, gamma)), gamma: sumDyNormal, beta: sumDy };
    },
  };
}

/** x between 0 and top; without a bound where that is null. */
export function relu(x: tf.Tensor, top: number | null): tf.Tensor {
  if (top === null) return tf.relu(x);
  return has(BOUNDED_RELU) ? run(BOUNDED_RELU, { x }, { top })[0] : tf.minimum(tf.relu(x), top);
}

/** Its gradient, given its output: none where the output is at a bound. */
export function reluGrad(dy: tf.Tensor, y: tf.Tensor, top: number | null): tf.Tensor {
  if (has(RELU_GRAD)) return run(RELU_GRAD, { dy, y }, { top: top ?? Number.POSITIVE_INFINITY })[0];
  const passed = tf.mul(dy, tf.step(y));
  return top === null ? passed : tf.mul(passed, tf.step(tf.sub(top, y)));
}

/** Codes of a tensor, as x = scale·(q − zeroPoint), q of `bits` bits. */
interface Codes {
  bits: number;
  scale: number;
  zeroPoint: number;
}

function bounds({ bits, scale, zeroPoint }: Codes): { low: number; high: number; bits: number } {
  return { low: scale * (0 - zeroPoint), high: scale * (2 ** bits - 1 - zeroPoint), bits };
}

/** Each element rounded to the nearest value that has a code. */
export function fakeQuantize(x: tf.Tensor, codes: Codes): tf.Tensor {
  const { low, high, bits } = bounds(codes);
  if (has(FAKE_QUANTIZE)) return run(FAKE_QUANTIZE, { x }, { low, high, bits })[0];
  return tf.mul(tf.round(tf.mul(tf.clipByValue(x, low, high), 1 / codes.scale)), codes.scale);
}

/** Gradient by the straight-through estimator: none where x was clipped. */
export function fakeQuantizeGrad(dy: tf.Tensor, x: tf.Tensor, codes: Codes): tf.Tensor {
  const { low, high, bits } = bounds(codes);
  if (has(FAKE_QUANTIZE_GRAD)) return run(FAKE_QUANTIZE_GRAD, { dy, x }, { low, high, bits })[0];
  return tf.mul(dy, tf.cast(tf.logicalAnd(tf.greaterEqual(x, low), tf.lessEqual(x, high)), 'float32'));
}

/** The sum over all axes but the last: [c]; composed, a product with a row of ones, which every backend does fast. */
export function channelSums(x: tf.Tensor): tf.Tensor1D {
  if (has(CHANNEL_SUMS)) return run(CHANNEL_SUMS, { x }, {})[0] as tf.Tensor1D;
  const channels = x.shape[x.rank - 1];
  const rows = x.size / channels;
  return tf.reshape(tf.matMul(tf.ones([1, rows]), tf.reshape(x, [rows, channels])), [channels]);
}

/** Σ|x| */
export function absoluteSum(x: tf.Tensor): tf.Scalar {
  return (has(ABSOLUTE_SUM) ? run(ABSOLUTE_SUM, { x }, {})[0] : tf.sum(tf.abs(x))) as tf.Scalar;
}

/** Σx² */
export function squareSum(x: tf.Tensor): tf.Scalar {
  return (has(SQUARE_SUM) ? run(SQUARE_SUM, { x }, {})[0] : tf.sum(tf.square(x))) as tf.Scalar;
}

/** x + step·sign(g), for tensors of one shape. */
export function addSign(x: tf.Tensor, g: tf.Tensor, step: number): tf.Tensor {
  return has(ADD_SIGN) ? run(ADD_SIGN, { x, g }, { step })[0] : tf.add(x, tf.mul(tf.sign(g), step));
}

function has(kernel: string): boolean {
  return tf.getKernel(kernel, tf.getBackend()) !== undefined;
}

function run(kernel: string, inputs: Record<string, tf.Tensor>, attrs: Record<string, number>): tf.Tensor[] {
  return [tf.engine().runKernel(kernel, inputs, attrs)].flat() as tf.Tensor[];
}
