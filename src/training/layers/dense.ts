import * as tf from '@tensorflow/tfjs-core';
import type { DenseNode } from '../../model/graph.js';
import { channelSums } from '../../tensorflow/fused.js';
import type { Layer } from './layer.js';

export const dense: Layer<DenseNode> = (node, [x], { weights }) => {
  const { kernel, bias } = node;
  const linear = tf.matMul(x as tf.Tensor2D, weights[kernel] as tf.Tensor2D);
  return {
    output: bias === null ? linear : tf.add(linear, weights[bias]),
    backward(dy, needsInputs) {
      return {
        inputs: needsInputs ? [tf.matMul(dy, weights[kernel], false, true)] : [],
        weights: {
          [kernel]: tf.matMul(x, dy, true, false),
          ...(bias === null ? {} : { [bias]: channelSums(dy) }),
        },
      };
    },
  };
};
