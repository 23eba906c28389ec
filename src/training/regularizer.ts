/**
 * The gradient l1 regulariser (Alizadeh et al., ICLR 2020, arXiv 2002.07520):
 *
 *     L(w) = CE(w) + λw·‖∇_w CE‖₁ + λy·Σ_y ‖∇_y CE‖₁
 *
 * w: the kernels of convolutions and dense layers (no biases, no batch norm). y: the tensors that serving quantises. CE
 * is the mean over the batch, so ∇_y of one example carries 1/batch and the batch tensor's ‖∇_y‖₁ is already the mean over
 * examples of the per-example norm; ‖∇_w‖₁ is that of the batch gradient.
 *
 * Its gradient without second derivatives. Let p be offsets added to the tensors y, G = ∇_(w,p) CE at p = 0 and
 * s = sign(G), which is constant almost everywhere. Then ∇_w(λw‖G_w‖₁ + λy‖G_p‖₁) = H_ww·λw·s_w + H_wp·λy·s_y is the
 * derivative of ∇_w CE along the direction d = (λw·s_w, λy·s_y), and
 *
 *     ∇_w L ≈ g + (g′ − g)/ε,   g = ∇_w CE(w, 0),   g′ = ∇_w CE((w, 0) + ε·d)
 *
 * with weights of all kinds in w where a gradient is taken. One ε serves all tensors, for only then is the quotient the
 * derivative along d: radii of their own for the tensors would change their λ. Tensor T moves by ε·λ_T in each element,
 * and that must stay within its radius r_T = RADIUS·rms(T), so ε = min_T r_T/λ_T, over the kernels, and the activations
 * (as this batch has them), with λ_T > 0. The smallest radius is the safe choice: errors from kinks (ReLU, max pooling)
 * and curvature grow with ε, float32 noise only shows below about 1e-4·rms.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Graph } from '../model/graph.js';
import { activationTensors, fuseGraph } from '../quantize/fuse.js';
import { absoluteSum, addSign, squareSum } from '../tensorflow/fused.js';
import type { Tensors } from './layers/layer.js';
import { backward, crossEntropy, forward, type Offsets, type Quantization } from './pass.js';
import { kernelNames } from './weights.js';

/** Of a tensor's root mean square: how far an element may move. */
export const RADIUS = 1e-2;

export interface Batch {
  /** [batch, ...input shape] */
  x: tf.Tensor;
  labels: Int32Array;
  /** Of the dropout masks, the same in both gradients. */
  seeds: number[];
  /** Share of the target that all classes have in equal parts; by default 0. */
  smoothing?: number;
  /** How much each example counts in the mean; by default all the same. */
  exampleWeights?: Float32Array;
  /** Of a step through the fake-quantised net. */
  quantization?: Quantization;
}

export interface Strength {
  lambdaWeights: number;
  lambdaActivations: number;
}

/** Of a batch: mean cross-entropy, ‖∇_w CE‖₁ and Σ‖∇_y CE‖₁. */
export interface Measured {
  loss: number;
  normWeights: number;
  normActivations: number;
}

export interface StepGradients {
  /** Mean cross-entropy of the batch. */
  loss: number;
  /** ‖∇_w CE‖₁ and Σ‖∇_y CE‖₁; null where the regulariser was off. */
  normWeights: number | null;
  normActivations: number | null;
  /** Of the penalties; absent where the regulariser was off or has no λ. */
  strength?: Strength;
  /** ∇_w L, by weight name. */
  gradients: Tensors;
  /** New moving averages, by weight name. */
  moving: Tensors;
}

/** What the regulariser must know of a graph. */
export interface Regularized {
  graph: Graph;
  kernels: string[];
  /** How many of a kernel's last axes are output channels: two of a depthwise convolution's. */
  outputAxes(kernel: string): 1 | 2;
  activations: string[];
}

export function regularized(graph: Graph): Regularized {
  const depthwise = new Set(graph.nodes.flatMap((node) => (node.op === 'depthwise_conv2d' ? [node.kernel] : [])));
  const outputAxes = (kernel: string) => (depthwise.has(kernel) ? 2 : 1);
  // Those that the output depends on: no other has a gradient.
  const live = new Set(fuseGraph(graph).ops.flatMap(({ node }) => ('kernel' in node ? [node.kernel] : [])));
  const kernels = kernelNames(graph).filter((name) => live.has(name));
  return { graph, kernels, outputAxes, activations: activationTensors(graph) };
}

/**
 * ∇_w L of one batch; the caller disposes of the tensors.
 * @param strength the strengths, or what gives them once the batch's norms are known
 */
export function stepGradients(
  net: Regularized,
  weights: Tensors,
  batch: Batch,
  strength: Strength | ((measured: Measured) => Strength),
  radius = RADIUS,
): StepGradients {
  const active = typeof strength === 'function' || strength.lambdaWeights > 0 || strength.lambdaActivations > 0;
  const numbers: Omit<StepGradients, 'gradients' | 'moving'> = { loss: 0, normWeights: null, normActivations: null };
  const tensors = tf.tidy(() => {
    if (!active) {
      const plain = gradientsAt(net, weights, batch, {}, []);
      numbers.loss = plain.loss.dataSync()[0];
      return { gradients: plain.weights, moving: plain.moving };
    }
    // What the first pass leaves behind is let go of before the second.
    let measured = {} as ReturnType<typeof measure>;
    const first = tf.tidy(() => {
      const { loss, outputs, ...gradients } = gradientsAt(net, weights, batch, {}, net.activations);
      measured = measure(
        loss,
        net.kernels.map((name) => gradients.weights[name]),
        Object.values(gradients.activations),
        [
          ...net.kernels.map((name) => weights[name]),
          ...Object.keys(gradients.activations).map((name) => outputs[name]),
        ],
      );
      return gradients;
    });
    const watched = Object.keys(first.activations);
    const { rms, ...norms } = measured;
    const used = typeof strength === 'function' ? strength(norms) : strength;
    Object.assign(numbers, norms, { strength: used });
    const { lambdaWeights, lambdaActivations } = used;
    const lambdas = [...net.kernels.map(() => lambdaWeights), ...watched.map(() => lambdaActivations)];
    const epsilon = commonEpsilon(rms, lambdas, radius);
    if (!(epsilon > 0 && epsilon < Number.POSITIVE_INFINITY)) return { gradients: first.weights, moving: first.moving };

    const moved: Tensors = { ...weights };
    if (lambdaWeights > 0) {
      const step = epsilon * lambdaWeights;
      for (const name of net.kernels) moved[name] = addSign(weights[name], first.weights[name], step);
    }
    const offsets: Offsets = {};
    if (lambdaActivations > 0) {
      const step = epsilon * lambdaActivations;
      for (const name of watched) offsets[name] = (y) => addSign(y, first.activations[name], step);
    }
    const second = tf.tidy(() => gradientsAt(net, moved, batch, offsets, []).weights);
    const gradients: Tensors = {};
    for (const [name, g] of Object.entries(first.weights)) {
      gradients[name] = tf.add(g, tf.mul(tf.sub(second[name], g), 1 / epsilon));
    }
    return { gradients, moving: first.moving };
  });
  return { ...numbers, ...tensors };
}

/** min r_T/λ_T over the tensors that are moved and are not all zero. */
function commonEpsilon(rms: number[], lambdas: number[], radius: number): number {
  const ratios = rms.map((size, i) => (lambdas[i] > 0 && size > 0 ? (radius * size) / lambdas[i] : Infinity));
  return Math.min(...ratios);
}

/** Ordinary gradients of a batch, at activations that are offset. Call it inside `tf.tidy`. */
export function gradientsAt(
  net: Regularized,
  weights: Tensors,
  batch: Batch,
  offsets: Offsets,
  watch: readonly string[],
) {
  const { seeds, quantization } = batch;
  const run = forward(net.graph, weights, batch.x, { training: true, seeds, offsets, quantization });
  const { loss, dLogits } = crossEntropy(run.logits, batch.labels, batch.smoothing, batch.exampleWeights);
  const { weights: gradients, activations } = backward(net.graph, run, dLogits, watch);
  return { loss, weights: gradients, activations, outputs: run.outputs, moving: run.moving };
}

/** Loss, l1 norms and root mean squares, fetched from the device in one go. */
function measure(loss: tf.Scalar, dWeights: tf.Tensor[], dActivations: tf.Tensor[], sized: tf.Tensor[]) {
  const norms = [...dWeights, ...dActivations].map(absoluteSum);
  const squares = sized.map(squareSum);
  const values = Array.from(tf.stack([loss, ...norms, ...squares]).dataSync());
  const total = (from: number, count: number) => values.slice(from, from + count).reduce((a, b) => a + b, 0);
  return {
    loss: values[0],
    normWeights: total(1, dWeights.length),
    normActivations: total(1 + dWeights.length, dActivations.length),
    rms: values.slice(1 + norms.length).map((square, i) => Math.sqrt(square / sized[i].size)),
  };
}
