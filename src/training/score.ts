/** How well a precision does on some images, image by image. */
import { setImmediate } from 'node:timers/promises';
import type { ImageBatches } from './image-batches.js';
import { TrainingCancelled } from './request.js';
import type { Runner } from './runner.js';

export interface Score {
  /** 1 where the largest logit is the label's; of equal logits the first counts. */
  right: Uint8Array;
  /** Cross-entropy, in nats. */
  loss: Float64Array;
}

export interface ScoreHooks {
  /** Asked before every batch. */
  isCancelled?(): boolean;
  /** @param images done so far */
  onProgress?(images: number): void;
}

/** @throws TrainingCancelled */
export async function score(runner: Runner, images: ImageBatches, hooks: ScoreHooks): Promise<Score> {
  const right = new Uint8Array(images.count);
  const loss = new Float64Array(images.count);
  let at = 0;
  for await (const { input, labels } of images) {
    if (hooks.isCancelled?.()) throw new TrainingCancelled();
    const logits = await runner.run(input, labels.length);
    const classes = logits.length / labels.length;
    for (let i = 0; i < labels.length; i++, at++) {
      const row = logits.subarray(i * classes, (i + 1) * classes);
      let best = 0;
      for (let c = 1; c < classes; c++) if (row[c] > row[best]) best = c;
      right[at] = best === labels[i] ? 1 : 0;
      let sum = 0;
      for (let c = 0; c < classes; c++) sum += Math.exp(row[c] - row[best]);
      loss[at] = Math.log(sum) + row[best] - row[labels[i]];
    }
    hooks.onProgress?.(at);
    await setImmediate();
  }
  return { right, loss };
}

/** Share of the images that are right, 0..1. */
export function accuracyOf({ right }: Score): number {
  return right.reduce((sum, one) => sum + one, 0) / right.length;
}

/**
 * Whether a candidate does better than what is held so far, on the same images. Mean cross-entropy decides: it tells of
 * every image, where accuracy tells of the few on which the two differ. But only a gain above its own standard error is a
 * gain, and accuracy has the last word where it speaks: no candidate that loses more images than chance allows (one
 * deviation of a fair coin over the images that one of the two alone has right) is taken, and one that wins more than two is.
 */
export function isBetter(candidate: Score, held: Score): boolean {
  const count = held.loss.length;
  let won = 0;
  let lost = 0;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    if (candidate.right[i] > held.right[i]) won++;
    else if (candidate.right[i] < held.right[i]) lost++;
    const change = candidate.loss[i] - held.loss[i];
    sum += change;
    squares += change * change;
  }
  const deviation = Math.sqrt(won + lost);
  if (won - lost > 2 * deviation) return true;
  if (lost - won > deviation) return false;
  const mean = sum / count;
  const error = Math.sqrt((squares / count - mean * mean) / (count - 1));
  return mean < -error;
}
