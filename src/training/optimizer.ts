/** Adam (Kingma and Ba 2015), on tensors by name. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensors } from './layers/layer.js';

const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-7;

export class Adam {
  #step = 0;
  #first: Tensors = {};
  #second: Tensors = {};

  /** Replaces every tensor of `weights` that has a gradient; the old tensors are disposed of. */
  apply(weights: Tensors, gradients: Tensors, learningRate: number): void {
    this.#step++;
    // Both bias corrections in one factor.
    const rate = (learningRate * Math.sqrt(1 - BETA2 ** this.#step)) / (1 - BETA1 ** this.#step);
    const epsilon = EPSILON * Math.sqrt(1 - BETA2 ** this.#step);
    for (const [name, gradient] of Object.entries(gradients)) {
      const [weight, first, second] = tf.tidy(() => {
        const m = this.#first[name] ?? tf.zerosLike(gradient);
        const v = this.#second[name] ?? tf.zerosLike(gradient);
        const nextM = tf.add(tf.mul(m, BETA1), tf.mul(gradient, 1 - BETA1));
        const nextV = tf.add(tf.mul(v, BETA2), tf.mul(tf.square(gradient), 1 - BETA2));
        const change = tf.div(tf.mul(nextM, rate), tf.add(tf.sqrt(nextV), epsilon));
        return [tf.sub(weights[name], change), nextM, nextV];
      });
      replace(weights, name, weight);
      replace(this.#first, name, first);
      replace(this.#second, name, second);
    }
  }

  dispose(): void {
    tf.dispose([this.#first, this.#second]);
  }
}

/** Puts a tensor, kept from its scope's end, in another's place. */
export function replace(tensors: Tensors, name: string, tensor: tf.Tensor): void {
  tensors[name]?.dispose();
  tensors[name] = tf.keep(tensor);
}
