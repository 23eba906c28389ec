import type { Padding } from './graph.js';

/** Elements of one tensor at most: 1 GiB of float32. It keeps a document from asking for more memory than there is. */
export const MAX_ELEMENTS = 2 ** 28;

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/**
 * Positions of a sliding window along one axis, as TensorFlow counts them: same: ⌈size/stride⌉; valid:
 * ⌊(size − ((kernel − 1)·dilation + 1))/stride⌋ + 1, which is below 1 where the window does not fit.
 */
export function windowOutput(size: number, kernel: number, stride: number, dilation: number, padding: Padding): number {
  if (padding === 'same') return Math.ceil(size / stride);
  return Math.floor((size - ((kernel - 1) * dilation + 1)) / stride) + 1;
}
