import type { RankedLabel } from './request.js';

/**
 * Softmax in float64 of `classes` logits from `offset` on: exp(x − max)/Σ exp(x − max), summed from index 0 up. The
 * maximum is subtracted so that no finite logit overflows.
 */
export function softmax(logits: ArrayLike<number>, offset = 0, classes = logits.length - offset): Float64Array {
  let max = -Infinity;
  for (let i = 0; i < classes; i++) max = Math.max(max, logits[offset + i]);
  const out = new Float64Array(classes);
  let sum = 0;
  for (let i = 0; i < classes; i++) {
    out[i] = Math.exp(logits[offset + i] - max);
    sum += out[i];
  }
  for (let i = 0; i < classes; i++) out[i] /= sum;
  return out;
}

/** Indices of the `k` largest values, largest first; of equal values the lower index comes first. */
export function topIndices(values: ArrayLike<number>, k: number): number[] {
  const top: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (top.length === k && !(values[i] > values[top[k - 1]])) continue;
    let at = top.length;
    while (at > 0 && values[i] > values[top[at - 1]]) at--;
    top.splice(at, 0, i);
    if (top.length > k) top.pop();
  }
  return top;
}

/** The `k` likeliest labels for one row of logits, likeliest first. Ranked by logit, so that underflow ties nothing. */
export function rankLabels(logits: Float32Array, offset: number, labels: readonly string[], k: number): RankedLabel[] {
  const row = logits.subarray(offset, offset + labels.length);
  const probabilities = softmax(row);
  return topIndices(row, k).map((index) => ({ label: labels[index], index, probability: probabilities[index] }));
}
