import * as tf from '@tensorflow/tfjs-core';
import type { BatchNormNode } from '../../model/graph.js';
import { channelSums } from './arithmetic.js';
import type { Layer, Tensors } from './layer.js';

/**
 * Batch normalisation over the last axis. In training by the batch's mean μ and (biased) variance σ², and with
 * x̂ = (x − μ)/√(σ² + ε): dx = γ/√(σ² + ε)·(dy − mean(dy) − x̂·mean(dy·x̂)) (Ioffe and Szegedy 2015, simplified).
 */
export const batchNorm: Layer<BatchNormNode> = (node, [x], { weights, training, moving }) => {
  const count = x.size / x.shape[x.rank - 1];
  const mean = training ? tf.div(channelSums(x), count) : weights[node.mean];
  const centred = tf.sub(x, mean);
  const variance = training ? tf.div(channelSums(tf.square(centred)), count) : weights[node.variance];
  if (training) {
    const follow = (old: tf.Tensor, now: tf.Tensor) =>
      tf.add(tf.mul(old, node.momentum), tf.mul(now, 1 - node.momentum));
    moving[node.mean] = follow(weights[node.mean], mean);
    moving[node.variance] = follow(weights[node.variance], variance);
  }
  const inverse = tf.rsqrt(tf.add(variance, node.epsilon));
  const normal = tf.mul(centred, inverse);
  const scaled = node.gamma === null ? normal : tf.mul(normal, weights[node.gamma]);
  return {
    output: node.beta === null ? scaled : tf.add(scaled, weights[node.beta]),
    backward(dy, needsInputs) {
      const sumDy = channelSums(dy);
      const sumDyNormal = channelSums(tf.mul(dy, normal));
      const named: Tensors = {};
      if (node.gamma !== null) named[node.gamma] = sumDyNormal;
      if (node.beta !== null) named[node.beta] = sumDy;
      if (!needsInputs) return { inputs: [], weights: named };
      const slope = node.gamma === null ? inverse : tf.mul(inverse, weights[node.gamma]);
      const inner = training
        ? tf.sub(tf.sub(dy, tf.div(sumDy, count)), tf.mul(normal, tf.div(sumDyNormal, count)))
        : dy;
      return { inputs: [tf.mul(inner, slope)], weights: named };
    },
  };
};
