/** What turns gradients into new weights, on tensors by name. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensors } from './layers/layer.js';
import type { OptimizerRequest } from './request.js';
import { replace, replaceAll, type State, type Stateful } from './state.js';

export interface Optimizer extends Stateful {
  /** Replaces every tensor of `weights` that has a gradient; the old tensors are disposed of. */
  apply(weights: Tensors, gradients: Tensors, learningRate: number): void;
  dispose(): void;
}

/** @param decayed names of the weights that weight decay acts on: kernels, not biases or batch norm */
export function createOptimizer(request: OptimizerRequest, decayed: readonly string[]): Optimizer {
  const decay = new Set(request.weight_decay > 0 ? decayed : []);
  const decayOf = (name: string) => (decay.has(name) ? request.weight_decay : 0);
  return request.kind === 'sgd' ? new Sgd(request.momentum, decayOf) : new Adam(decayOf);
}

type DecayOf = (name: string) => number;

const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-7;

/** Adam (Kingma and Ba 2015), with decoupled weight decay (Loshchilov and Hutter 2019). */
class Adam implements Optimizer {
  readonly #decayOf: DecayOf;
  #step = 0;
  #first: Tensors = {};
  #second: Tensors = {};

  constructor(decayOf: DecayOf) {
    this.#decayOf = decayOf;
  }

  apply(weights: Tensors, gradients: Tensors, learningRate: number): void {
    this.#step++;
    // Both bias corrections in one factor.
    const rate = (learningRate * Math.sqrt(1 - BETA2 ** this.#step)) / (1 - BETA1 ** this.#step);
    const epsilon = EPSILON * Math.sqrt(1 - BETA2 ** this.#step);
    for (const [name, gradient] of Object.entries(gradients)) {
      const decay = learningRate * this.#decayOf(name);
      const [weight, first, second] = tf.tidy(() => {
        const m = this.#first[name] ?? tf.zerosLike(gradient);
        const v = this.#second[name] ?? tf.zerosLike(gradient);
        const nextM = tf.add(tf.mul(m, BETA1), tf.mul(gradient, 1 - BETA1));
        const nextV = tf.add(tf.mul(v, BETA2), tf.mul(tf.square(gradient), 1 - BETA2));
        const change = tf.div(tf.mul(nextM, rate), tf.add(tf.sqrt(nextV), epsilon));
        const old = decay > 0 ? tf.mul(weights[name], 1 - decay) : weights[name];
        return [tf.sub(old, change), nextM, nextV];
      });
      replace(weights, name, weight);
      replace(this.#first, name, first);
      replace(this.#second, name, second);
    }
  }

  state(): State {
    return { numbers: { step: this.#step }, tensors: { first: this.#first, second: this.#second } };
  }

  restore({ numbers, tensors }: State): void {
    this.#step = numbers.step;
    replaceAll(this.#first, tensors.first);
    replaceAll(this.#second, tensors.second);
  }

  dispose(): void {
    tf.dispose([this.#first, this.#second]);
  }
}

/** Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013), weight decay added to the gradient. */
class Sgd implements Optimizer {
  readonly #momentum: number;
  readonly #decayOf: DecayOf;
  #velocity: Tensors = {};

  constructor(momentum: number, decayOf: DecayOf) {
    this.#momentum = momentum;
    this.#decayOf = decayOf;
  }

  apply(weights: Tensors, gradients: Tensors, learningRate: number): void {
    for (const [name, gradient] of Object.entries(gradients)) {
      const decay = this.#decayOf(name);
      const [weight, velocity] = tf.tidy(() => {
        const g = decay > 0 ? tf.add(gradient, tf.mul(weights[name], decay)) : gradient;
        const old = this.#velocity[name];
        const next = old === undefined ? tf.clone(g) : tf.add(tf.mul(old, this.#momentum), g);
        const ahead = tf.add(g, tf.mul(next, this.#momentum));
        return [tf.sub(weights[name], tf.mul(ahead, learningRate)), next];
      });
      replace(weights, name, weight);
      replace(this.#velocity, name, velocity);
    }
  }

  state(): State {
    return { numbers: {}, tensors: { velocity: this.#velocity } };
  }

  restore({ tensors }: State): void {
    replaceAll(this.#velocity, tensors.velocity);
  }

  dispose(): void {
    tf.dispose(this.#velocity);
  }
}
