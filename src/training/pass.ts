/** One batch through a graph: logits, loss, and the gradients of the loss for weights and for inner tensors. */
import * as tf from '@tensorflow/tfjs-core';
import type { Graph } from '../model/graph.js';
import type { CodesParameters } from '../quantize/ranges.js';
import { fakeQuantize, fakeQuantizeGrad } from '../tensorflow/fused.js';
import type { LayerPass, PassContext, Tensors } from './layers/layer.js';
import { applyLayer } from './layers/table.js';
import { Random } from './random.js';

export interface ForwardOptions {
  training: boolean;
  /** Whether training drops anything; by default it does. */
  dropout?: boolean;
  /** Seeds of the dropout masks; the same seeds give the same masks. */
  seeds?: number[];
  offsets?: Offsets;
  quantization?: Quantization;
}

/** By node name: gives the node's output with something added to it that does not depend on it. */
export type Offsets = Record<string, (output: tf.Tensor) => tf.Tensor>;

/** How a pass computes with rounded numbers. */
export interface Quantization {
  /** By weight name: what stands in for the weight. Gradients are the weight's own. */
  kernels: Tensors;
  /** By node name: what the node's output is rounded to. */
  activations: Map<string, CodesParameters>;
}

export interface Forward {
  /** [batch, classes], before any softmax. */
  logits: tf.Tensor2D;
  /** Output of every node, by name. */
  outputs: Tensors;
  /** New moving averages of the batch norms, by weight name; empty unless training. */
  moving: Tensors;
  passes: Map<string, LayerPass>;
}

/** Runs the graph. Call it inside `tf.tidy`: what it gives lives as long as that scope. */
export function forward(graph: Graph, weights: Tensors, x: tf.Tensor, options: ForwardOptions): Forward {
  const { training, dropout = training, seeds = [0], offsets = {}, quantization } = options;
  const used = quantization === undefined ? weights : { ...weights, ...quantization.kernels };
  const context: PassContext = { weights: used, training, dropout, random: new Random(...seeds), moving: {} };
  const outputs: Tensors = {};
  const passes = new Map<string, LayerPass>();
  for (const node of graph.nodes) {
    const inputs = node.op === 'input' ? [x] : node.inputs.map((name) => outputs[name]);
    const layer = applyLayer(node, inputs, context);
    const codes = quantization?.activations.get(node.name);
    const pass = codes === undefined ? layer : rounded(layer, codes);
    passes.set(node.name, pass);
    outputs[node.name] = offsets[node.name]?.(pass.output) ?? pass.output;
  }
  return { logits: outputs[graph.output] as tf.Tensor2D, outputs, moving: context.moving, passes };
}

/** A layer whose output is rounded to codes; the gradient passes where nothing was clipped. */
function rounded(layer: LayerPass, codes: CodesParameters): LayerPass {
  return {
    output: fakeQuantize(layer.output, codes),
    backward: (dy, needsInputs) => layer.backward(fakeQuantizeGrad(dy, layer.output, codes), needsInputs),
  };
}

export interface Gradients {
  weights: Tensors;
  /** By node name, for the nodes that were asked for and that the loss depends on through a weight. */
  activations: Tensors;
}

/**
 * The gradients, given that of the logits. An offset added to a node's output has the node's own gradient, so `watch`
 * gives ∇_y for y the tensor that goes on to the next layers.
 */
export function backward(graph: Graph, run: Forward, dLogits: tf.Tensor, watch: readonly string[] = []): Gradients {
  const learns = learningNodes(graph);
  const pending: Tensors = { [graph.output]: dLogits };
  const gradients: Gradients = { weights: {}, activations: {} };
  for (const node of graph.nodes.toReversed()) {
    const dy = pending[node.name];
    if (!dy || !learns.has(node.name)) continue;
    if (watch.includes(node.name)) gradients.activations[node.name] = dy;
    const before = Object.values(pending);
    tf.tidy(() => {
      const needsInputs = node.inputs.some((name) => learns.has(name));
      const pass = run.passes.get(node.name) as LayerPass;
      const { inputs, weights } = pass.backward(dy, needsInputs);
      for (const [name, gradient] of Object.entries(weights)) accumulate(gradients.weights, name, gradient);
      for (const [i, gradient] of inputs.entries()) accumulate(pending, node.inputs[i], gradient);
      delete pending[node.name];
      return [pending, gradients.weights];
    });
    // A gradient that was used up makes room for the next one while its memory is still in the caches.
    const needed = new Set([dLogits, ...Object.values(pending), ...Object.values(gradients.activations)]);
    for (const tensor of before) if (!needed.has(tensor)) tensor.dispose();
  }
  return gradients;
}

function accumulate(sums: Tensors, name: string, term: tf.Tensor): void {
  sums[name] = name in sums ? tf.add(sums[name], term) : term;
}

/** Nodes that have weights, or something before them that has. */
function learningNodes(graph: Graph): Set<string> {
  const learns = new Set<string>();
  for (const node of graph.nodes) {
    if ('kernel' in node || node.op === 'batch_norm' || node.inputs.some((name) => learns.has(name))) {
      learns.add(node.name);
    }
  }
  return learns;
}

/**
 * Mean cross-entropy of a batch, and its gradient for the logits: (softmax − target)/batch.
 * @param smoothing share of the target that all classes have in equal parts (Szegedy et al. 2016); 0 is one-hot
 * @param weights of the examples: the mean is Σ wᵢ·CEᵢ / Σ wᵢ; by default all the same
 */
export function crossEntropy(
  logits: tf.Tensor2D,
  labels: Int32Array,
  smoothing = 0,
  weights?: Float32Array,
): { loss: tf.Scalar; dLogits: tf.Tensor2D } {
  const [batch, classes] = logits.shape;
  // The wasm backend's one-hot takes whole numbers alone.
  const oneHot = tf.cast(tf.oneHot(tf.tensor1d(labels, 'int32'), classes), 'float32');
  const target = tf.add(tf.mul(oneHot, 1 - smoothing), smoothing / classes);
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const logSum = tf.log(tf.sum(tf.exp(shifted), 1, true));
  const logProbabilities = tf.sub(shifted, logSum);
  const each = (values: tf.Tensor) => (weights ? tf.mul(values, tf.tensor2d(weights, [batch, 1])) : values);
  const total = weights?.reduce((a, b) => a + b, 0) ?? batch;
  return {
    loss: tf.div(tf.neg(tf.sum(each(tf.mul(target, logProbabilities)))), total) as tf.Scalar,
    dLogits: tf.div(each(tf.sub(tf.exp(logProbabilities), target)), total) as tf.Tensor2D,
  };
}
