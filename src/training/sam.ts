/**
 * The gradient l1 penalty in the form of sharpness-aware minimisation (Foret et al. 2021): the loss at the worst point of a box
 * around the weights and the activations, CE(w + ρ·sign g_w, y + ρ·sign g_y) ≈ CE + ρ‖g_w‖₁ + ρ‖g_y‖₁. It is the finite
 * difference of the gradient l1 rule with ε = 1; here the radius ρ is a share of half a quantisation step, which is as far
 * as rounding moves a number.
 */
import * as tf from '@tensorflow/tfjs-core';
import { absoluteSum, addSign } from '../tensorflow/fused.js';
import type { Tensors } from './layers/layer.js';
import type { Offsets } from './pass.js';
import { type Batch, gradientsAt, type Regularized, type StepGradients } from './regularizer.js';

export interface Box {
  /** Share of half a step. */
  radius: number;
  /** Width of the step, 2..8. */
  bits: number;
}

/** The gradient at the worst point of the box; the caller disposes of the tensors. */
export function sharpnessAwareGradients(net: Regularized, weights: Tensors, batch: Batch, box: Box): StepGradients {
  const numbers = { loss: 0, normWeights: 0, normActivations: 0 };
  const tensors = tf.tidy(() => {
    const first = gradientsAt(net, weights, batch, {}, net.activations);
    const total = (gradients: tf.Tensor[]) =>
      gradients.reduce((sum, g) => tf.add(sum, absoluteSum(g)), tf.scalar(0) as tf.Tensor);
    const normWeights = total(net.kernels.map((name) => first.weights[name]));
    const normActivations = total(Object.values(first.activations));
    const watched = Object.keys(first.activations);
    const greatest = watched.map((name) => tf.max(tf.abs(first.outputs[name])));
    const [loss, ...measured] = tf.stack([first.loss, normWeights, normActivations, ...greatest]).dataSync();
    Object.assign(numbers, { loss, normWeights: measured[0], normActivations: measured[1] });
    const moved: Tensors = { ...weights };
    for (const name of net.kernels) {
      const half = kernelHalfStep(weights[name], net.outputAxes(name), box.bits);
      moved[name] = tf.add(weights[name], tf.mul(tf.sign(first.weights[name]), tf.mul(half, box.radius)));
    }
    const offsets: Offsets = {};
    for (const [i, name] of watched.entries()) {
      const half = measured[2 + i] / (2 * (2 ** box.bits - 1));
      offsets[name] = (y) => addSign(y, first.activations[name], half * box.radius);
    }
    return { gradients: gradientsAt(net, moved, batch, offsets, []).weights, moving: first.moving };
  });
  return { ...numbers, ...tensors };
}

/** Half a min-max step of every output channel. @param axes how many of the last axes are output channels */
function kernelHalfStep(kernel: tf.Tensor, axes: number, bits: number): tf.Tensor {
  const inner = Array.from({ length: kernel.rank - axes }, (_, axis) => axis);
  return tf.div(tf.max(tf.abs(kernel), inner), 2 * (2 ** (bits - 1) - 1));
}
