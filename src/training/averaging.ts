/** Exponential moving average of the weights (Polyak and Juditsky 1992): often flatter, and better, than the last weights. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensors } from './layers/layer.js';
import { replace, replaceAll, type State, type Stateful } from './state.js';

export class WeightAverage implements Stateful {
  readonly #decay: number;
  readonly weights: Tensors = {};
  #steps = 0;

  /** @param decay share of the old average that a step keeps; less in the first steps, so that the start is forgotten */
  constructor(decay: number, start: Tensors) {
    this.#decay = decay;
    for (const [name, weight] of Object.entries(start)) replace(this.weights, name, tf.clone(weight));
  }

  add(weights: Tensors): void {
    this.#steps++;
    const decay = Math.min(this.#decay, this.#steps / (this.#steps + 9));
    for (const [name, weight] of Object.entries(weights)) {
      const average = tf.tidy(() => tf.add(tf.mul(this.weights[name], decay), tf.mul(weight, 1 - decay)));
      replace(this.weights, name, average);
    }
  }

  state(): State {
    return { numbers: { steps: this.#steps }, tensors: { weights: this.weights } };
  }

  restore({ numbers, tensors }: State): void {
    this.#steps = numbers.steps;
    replaceAll(this.weights, tensors.weights);
  }

  dispose(): void {
    tf.dispose(this.weights);
  }
}
