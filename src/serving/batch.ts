/** Merging and splitting: many requests as one run of the engine, and its rows back to whom they belong. */

/** Instances of one request. */
export interface Instances {
  /** batch × height × width × channels long. */
  input: Float32Array;
  batch: number;
}

/** The inputs one after another, in order. That of a single request is not copied. */
export function mergeInputs(requests: readonly Instances[]): Instances {
  if (requests.length === 1) return requests[0];
  let [length, batch] = [0, 0];
  for (const request of requests) {
    length += request.input.length;
    batch += request.batch;
  }
  const input = new Float32Array(length);
  let at = 0;
  for (const request of requests) {
    input.set(request.input, at);
    at += request.input.length;
  }
  return { input, batch };
}

/**
 * The rows of each request, in the order in which they were merged: views of the logits, which nobody writes to.
 * @param logits classes × the sum of `batches` long
 */
export function splitLogits(logits: Float32Array, batches: readonly number[]): Float32Array[] {
  if (batches.length === 1) return [logits];
  const all = batches.reduce((sum, batch) => sum + batch, 0);
  const classes = logits.length / all;
  if (!Number.isInteger(classes)) {
    throw new RangeError(`logits: expected a multiple of ${all} instances, got ${logits.length} numbers`);
  }
  let at = 0;
  return batches.map((batch) => {
    const from = at;
    at += batch * classes;
    return logits.subarray(from, at);
  });
}

/**
 * How many of those that wait go together: in their order, the first in any case, as long as all instances are at most
 * `most` and at most what each of them bears.
 * @param waiting `company`: instances of the batch that a request may ride in, its own included
 */
export function countTogether(waiting: readonly { batch: number; company: number }[], most: number): number {
  let instances = 0;
  let bound = most;
  for (let count = 0; count < waiting.length; count++) {
    const { batch, company } = waiting[count];
    instances += batch;
    bound = Math.min(bound, company);
    if (count > 0 && instances > bound) return count;
  }
  return waiting.length;
}
