import * as tf from '@tensorflow/tfjs-core';
import type { GlobalAvgPoolNode, Pair, PoolNode } from '../../model/graph.js';
import { runKernel } from './arithmetic.js';
import type { Layer } from './layer.js';

export const maxPool: Layer<PoolNode> = (node, [input], _) => {
  const { poolSize: filterSize, strides, padding: pad } = node;
  const output = tf.maxPool(input as tf.Tensor4D, filterSize, strides, pad);
  return {
    output,
    backward: (dy, needsInputs) => ({
      inputs: needsInputs ? [runKernel(tf.MaxPoolGrad, { dy, input, output }, { filterSize, strides, pad })] : [],
      weights: {},
    }),
  };
};

/**
 * Average pooling where padding does not count, as zero padding, a plain average of whole windows and a factor
 * window/valid positions: the backends differ in the gradient of their own padded average.
 */
export const avgPool: Layer<PoolNode> = (node, [x], _) => {
  const { poolSize, strides } = node;
  const shape = x.shape as [number, number, number, number];
  const info = tf.backend_util.computePool2DInfo(shape, poolSize, strides, 1, node.padding);
  const { top, bottom, left, right } = info.padInfo;
  const padded = tf.pad(x as tf.Tensor4D, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
  const factors = tf.tensor4d(windowFactors(info, poolSize), [1, info.outHeight, info.outWidth, 1]);
  return {
    output: tf.mul(tf.avgPool(padded, poolSize, strides, 'valid'), factors),
    backward(dy, needsInputs) {
      if (!needsInputs) return { inputs: [], weights: {} };
      const whole = runKernel(
        tf.AvgPoolGrad,
        { dy: tf.mul(dy, factors), input: padded },
        { filterSize: poolSize, strides, pad: 'valid' },
      );
      return { inputs: [tf.slice(whole, [0, top, left, 0], shape)], weights: {} };
    },
  };
};

function windowFactors(info: ReturnType<typeof tf.backend_util.computePool2DInfo>, [ph, pw]: Pair): Float32Array {
  const valid = (out: number, stride: number, pad: number, size: number, window: number) =>
    Math.min(out * stride - pad + window, size) - Math.max(out * stride - pad, 0);
  const factors = new Float32Array(info.outHeight * info.outWidth);
  for (let y = 0; y < info.outHeight; y++) {
    const rows = valid(y, info.strideHeight, info.padInfo.top, info.inHeight, ph);
    for (let x = 0; x < info.outWidth; x++) {
      const columns = valid(x, info.strideWidth, info.padInfo.left, info.inWidth, pw);
      factors[y * info.outWidth + x] = (ph * pw) / (rows * columns);
    }
  }
  return factors;
}

export const globalAvgPool: Layer<GlobalAvgPoolNode> = (_node, [x], _) => {
  const [batch, height, width, channels] = x.shape;
  return {
    output: tf.mean(x, [1, 2]),
    backward: (dy) => ({
      inputs: [tf.mul(tf.reshape(dy, [batch, 1, 1, channels]), tf.fill([1, height, width, 1], 1 / (height * width)))],
      weights: {},
    }),
  };
};
