/** Layers without arithmetic of their own. */
import * as tf from '@tensorflow/tfjs-core';
import type { AddNode, ConcatNode, DropoutNode, ReluNode, ReshapeNode, ZeroPadNode } from '../../model/graph.js';
import * as fused from '../../tensorflow/fused.js';
import type { Layer } from './layer.js';

export const relu: Layer<ReluNode> = ({ maxValue }, [x], _) => {
  const output = fused.relu(x, maxValue);
  return { output, backward: (dy) => ({ inputs: [fused.reluGrad(dy, output, maxValue)], weights: {} }) };
};

export const add: Layer<AddNode> = (_node, inputs, _) => ({
  output: inputs.reduce((a, b) => tf.add(a, b)),
  backward: (dy) => ({ inputs: inputs.map(() => dy), weights: {} }),
});

export const concat: Layer<ConcatNode> = (node, inputs, _) => {
  const axis = node.axis + 1;
  return {
    output: tf.concat(inputs, axis),
    backward: (dy) => ({
      inputs: tf.split(
        dy,
        inputs.map((x) => x.shape[axis]),
        axis,
      ),
      weights: {},
    }),
  };
};

export const zeroPad: Layer<ZeroPadNode> = (node, [x], _) => ({
  output: tf.pad(x, [
    [0, 0],
    [node.top, node.bottom],
    [node.left, node.right],
    [0, 0],
  ]),
  backward: (dy) => ({ inputs: [tf.slice(dy, [0, node.top, node.left, 0], x.shape)], weights: {} }),
});

export const reshape: Layer<ReshapeNode> = (node, [x], _) => ({
  output: tf.reshape(x, [x.shape[0], ...node.shape]),
  backward: (dy) => ({ inputs: [tf.reshape(dy, x.shape)], weights: {} }),
});

export const dropout: Layer<DropoutNode> = (node, [x], { dropout, random }) => {
  if (!dropout || node.rate === 0) return identity(x);
  const keep = 1 - node.rate;
  const values = Float32Array.from({ length: x.size }, () => (random.uniform() < keep ? 1 / keep : 0));
  const mask = tf.tensor(values, x.shape);
  return { output: tf.mul(x, mask), backward: (dy) => ({ inputs: [tf.mul(dy, mask)], weights: {} }) };
};

export const identity = (x: tf.Tensor): ReturnType<Layer> => ({
  output: x,
  backward: (dy) => ({ inputs: [dy], weights: {} }),
});
