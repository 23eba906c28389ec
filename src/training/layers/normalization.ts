import * as tf from '@tensorflow/tfjs-core';
import type { BatchNormNode } from '../../model/graph.js';
import { batchNormTraining, channelSums } from '../../tensorflow/fused.js';
import type { Layer, LayerPass, PassContext, Tensors } from './layer.js';

/** Batch normalisation over the last axis: in training by the batch's own statistics, else by the moving averages. */
export const batchNorm: Layer<BatchNormNode> = (node, [x], context) =>
  context.training ? byBatch(node, x, context) : byMovingAverages(node, x, context.weights);

function byBatch(node: BatchNormNode, x: tf.Tensor, { weights, moving }: PassContext): LayerPass {
  const channels = x.shape[x.rank - 1];
  const gamma = node.gamma === null ? tf.ones([channels]) : weights[node.gamma];
  const beta = node.beta === null ? tf.zeros([channels]) : weights[node.beta];
  const { y, mean, variance, backward } = batchNormTraining(x, gamma, beta, node.epsilon);
  const follow = (old: tf.Tensor, now: tf.Tensor) => tf.add(tf.mul(old, node.momentum), tf.mul(now, 1 - node.momentum));
  moving[node.mean] = follow(weights[node.mean], mean);
  moving[node.variance] = follow(weights[node.variance], variance);
  return {
    output: y,
    backward(dy, needsInputs) {
      const gradients = backward(dy);
      return { inputs: needsInputs ? [gradients.x] : [], weights: named(node, gradients.gamma, gradients.beta) };
    },
  };
}

function byMovingAverages(node: BatchNormNode, x: tf.Tensor, weights: Tensors): LayerPass {
  const { gamma, beta, mean, variance } = node;
  const optional = (name: string | null) => (name === null ? undefined : (weights[name] as tf.Tensor1D));
  const [scale, offset] = [optional(gamma), optional(beta)];
  const [centre, square] = [weights[mean] as tf.Tensor1D, weights[variance] as tf.Tensor1D];
  return {
    output: tf.batchNorm(x as tf.Tensor4D, centre, square, offset, scale, node.epsilon),
    backward(dy, needsInputs) {
      const inverse = tf.rsqrt(tf.add(square, node.epsilon));
      const normal = tf.mul(tf.sub(x, centre), inverse);
      const inputs = needsInputs ? [tf.mul(dy, scale ? tf.mul(inverse, scale) : inverse)] : [];
      return { inputs, weights: named(node, channelSums(tf.mul(dy, normal)), channelSums(dy)) };
    },
  };
}

function named({ gamma, beta }: BatchNormNode, dGamma: tf.Tensor, dBeta: tf.Tensor): Tensors {
  const gradients: Tensors = {};
  if (gamma !== null) gradients[gamma] = dGamma;
  if (beta !== null) gradients[beta] = dBeta;
  return gradients;
}
