/** What parts of the training carry from step to step, in a form that can be put away and taken up again. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensors } from './layers/layer.js';

/** The same groups and the same numbers at any time; which tensors a group holds may grow. */
export interface State {
  /** Finite ones. */
  numbers: Record<string, number>;
  /** Groups of float32 tensors by name. */
  tensors: Record<string, Tensors>;
}

export interface Stateful {
  /** Its own tensors: to be read before the next step, and left alone. */
  state(): State;
  /** Takes the place of what it holds; the tensors, kept outside any `tf.tidy`, become its own. */
  restore(state: State): void;
}

/** Tensors by name that somebody else owns. */
export function stateOf(tensors: Tensors): Stateful {
  return {
    state: () => ({ numbers: {}, tensors: { tensors } }),
    restore: ({ tensors: groups }) => replaceAll(tensors, groups.tensors),
  };
}

export function replaceAll(tensors: Tensors, others: Tensors): void {
  for (const [name, tensor] of Object.entries(others)) replace(tensors, name, tensor);
}

/** Puts a tensor, kept from its scope's end, in another's place. */
export function replace(tensors: Tensors, name: string, tensor: tf.Tensor): void {
  tensors[name]?.dispose();
  tensors[name] = tf.keep(tensor);
}
