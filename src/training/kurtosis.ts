/**
 * Kurtosis regularisation (KURE: Shkolnik et al. 2020, arXiv 2002.07686): kernels are drawn towards the kurtosis of a uniform
 * distribution, 1.8, which rounding to equal steps harms least.
 *
 *     λ/L·Σ_l (K_l − 1.8)²,   K = mean(z⁴),   z = (w − μ)/σ,   ∂K/∂w_i = 4/(n·σ)·(z_i³ − mean(z³) − K·z_i)
 */
import * as tf from '@tensorflow/tfjs-core';

/** Of a uniform distribution. */
export const TARGET_KURTOSIS = 1.8;

/**
 * @param kernels L of them
 * @param lambda λ
 * @returns the penalty's gradient for each kernel, and the kernels' mean kurtosis (a scalar); the caller disposes of them
 */
export function kurtosisGradients(
  kernels: readonly tf.Tensor[],
  lambda: number,
): { gradients: tf.Tensor[]; mean: tf.Scalar } {
  return tf.tidy(() => {
    const parts = kernels.map((kernel) => {
      const { mean, variance } = tf.moments(kernel);
      const deviation = tf.sqrt(tf.add(variance, 1e-12));
      const z = tf.div(tf.sub(kernel, mean), deviation);
      const cubes = tf.mul(tf.square(z), z);
      const kurtosis = tf.mean(tf.square(tf.square(z)));
      const slope = tf.sub(tf.sub(cubes, tf.mean(cubes)), tf.mul(z, kurtosis));
      const factor = tf.mul(tf.sub(kurtosis, TARGET_KURTOSIS), (lambda / kernels.length) * 2 * (4 / kernel.size));
      return { kurtosis, gradient: tf.mul(slope, tf.div(factor, deviation)) };
    });
    const mean = tf.mean(tf.stack(parts.map(({ kurtosis }) => kurtosis))) as tf.Scalar;
    return { gradients: parts.map(({ gradient }) => gradient), mean };
  });
}
