/** Weights between the store's form (float32 arrays) and the trainer's (TF.js tensors), and the very first weights. */
import * as tf from '@tensorflow/tfjs-core';
import type { Graph, GraphNode, Weights } from '../model/graph.js';
import type { Tensors } from './layers/layer.js';
import { Random } from './random.js';

/** Tensors outside any `tf.tidy` scope: the caller disposes of them. */
export function toTensors(weights: Weights): Tensors {
  const tensors: Tensors = {};
  for (const [name, { shape, data }] of weights) tensors[name] = tf.keep(tf.tensor(data, shape, 'float32'));
  return tensors;
}

export function toWeights(tensors: Tensors): Weights {
  const entries = Object.entries(tensors).map(([name, tensor]) => {
    return [name, { shape: tensor.shape, data: Float32Array.from(tensor.dataSync()) }] as const;
  });
  return new Map(entries);
}

/** Names of the kernels of convolutions and dense layers: what the regulariser's weight norm runs over. */
export function kernelNames(graph: Graph): string[] {
  return [...new Set(graph.nodes.flatMap((node) => ('kernel' in node ? [node.kernel] : [])))];
}

/**
 * Seeded first weights: kernels by He et al. 2015 (normal, variance 2/inputs of one output), the last layer's by
 * Glorot and Bengio 2010 (2/(inputs + outputs)); biases and β 0, γ 1, moving mean 0 and variance 1.
 */
export function initialWeights(graph: Graph, seed: number): Weights {
  const random = new Random(seed, 0x1417);
  const shapes = new Map(graph.nodes.map((node) => [node.name, node.shape]));
  const last = graph.nodes.findLast((node) => 'kernel' in node);
  const weights: Weights = new Map();
  const constant = (name: string | null, size: number, value: number) => {
    if (name !== null) weights.set(name, { shape: [size], data: new Float32Array(size).fill(value) });
  };
  for (const node of graph.nodes) {
    const channels = node.shape[node.shape.length - 1];
    if (node.op === 'batch_norm') {
      constant(node.gamma, channels, 1);
      constant(node.beta, channels, 0);
      constant(node.mean, channels, 0);
      constant(node.variance, channels, 1);
    } else if ('kernel' in node) {
      const shape = kernelShape(node, shapes.get(node.inputs[0]) as number[]);
      const size = shape.reduce((a, b) => a * b, 1);
      const fanIn = node.op === 'depthwise_conv2d' ? shape[0] * shape[1] : size / channels;
      const deviation = Math.sqrt(2 / (node === last ? fanIn + channels : fanIn));
      weights.set(node.kernel, { shape, data: Float32Array.from({ length: size }, () => deviation * random.normal()) });
      constant(node.bias, channels, 0);
    }
  }
  return weights;
}

function kernelShape(node: Extract<GraphNode, { kernel: string }>, input: number[]): number[] {
  const channels = node.shape[node.shape.length - 1];
  const inputs = input[input.length - 1];
  if (node.op === 'dense') return [inputs, channels];
  const outputs = node.op === 'conv2d' ? channels : channels / inputs;
  return [...node.kernelSize, inputs, outputs];
}
