import * as tf from '@tensorflow/tfjs-core';

/** A kernel that TF.js has as a gradient only, run by its name. */
export function runKernel(name: string, inputs: Record<string, tf.Tensor>, attrs: Record<string, unknown>): tf.Tensor {
  return tf.engine().runKernel(name, inputs, attrs as never) as tf.Tensor;
}
