import type { ActivationRange } from '../model/manifest.js';
import { clamp, roundHalfEven } from './rounding.js';

/** Activation ranges: one per tensor, found on calibration images, clipped to the least squared error at each width. */

const BINS = 1024;
/** Shares of the observed range that the clip search tries. */
const SHARES = Array.from({ length: 48 }, (_, i) => 0.955 ** i);
/** For tensors of both signs the search is over pairs, so it is coarser. */
const SIGNED_SHARES = Array.from({ length: 14 }, (_, i) => 0.87 ** i);

/** Scale and zero point of a tensor stored as codes: x = scale·(q − zeroPoint). */
export interface CodesParameters {
  bits: number;
  scale: number;
  zeroPoint: number;
}

/** Parameters for [low, high], which is widened to hold 0. The scale is a float32; low 0 gives zero point 0. */
export function codesParameters(low: number, high: number, bits: number): CodesParameters {
  const bottom = Math.min(low, 0);
  const top = Math.max(high, 0);
  const levels = 2 ** bits - 1;
  const scale = Math.fround((top - bottom) / levels);
  if (!(scale > 1e-30)) return { bits, scale: 1, zeroPoint: 0 };
  return { bits, scale, zeroPoint: clamp(roundHalfEven(-bottom / scale), 0, levels) };
}

/** [min, max] of values, zero, and what was seen before. */
export function extremes(values: ArrayLike<number>, before: [number, number] = [0, 0]): [number, number] {
  let [min, max] = before;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < min) min = values[i];
    else if (values[i] > max) max = values[i];
  }
  return [min, max];
}

/** Counts (or shares) of a tensor's values in equal bins of [min, max]; exact zeros are left out, for zero is always a code. */
export class Histogram {
  readonly counts = new Float64Array(BINS);
  readonly min: number;
  readonly max: number;

  constructor(min: number, max: number) {
    this.min = Math.min(min, 0);
    this.max = Math.max(max, 0);
  }

  add(values: ArrayLike<number>): void {
    const scale = this.max > this.min ? BINS / (this.max - this.min) : 0;
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v === 0) continue;
      this.counts[clamp(Math.floor((v - this.min) * scale), 0, BINS - 1)]++;
    }
  }

  /** Adds a share of a distribution that lies on one value. */
  addAt(value: number, share: number): void {
    if (this.max > this.min) this.counts[this.#bin(value)] += share;
  }

  /** Adds what a distribution has between two values. @param cumulative its share below a value */
  addBetween(from: number, to: number, cumulative: (value: number) => number): void {
    if (!(to > from)) return;
    const width = (this.max - this.min) / BINS;
    const last = this.#bin(to);
    let below = cumulative(from);
    for (let bin = this.#bin(from); bin <= last; bin++) {
      const here = cumulative(bin === last ? to : this.min + (bin + 1) * width);
      this.counts[bin] += here - below;
      below = here;
    }
  }

  #bin(value: number): number {
    return clamp(Math.floor(((value - this.min) * BINS) / (this.max - this.min)), 0, BINS - 1);
  }

  /** Σ count·(centre − quantised centre)² */
  squaredError({ bits, scale, zeroPoint }: CodesParameters): number {
    const width = (this.max - this.min) / BINS;
    return squaredError(this.counts, this.min + width / 2, width, scale, 0 - zeroPoint, 2 ** bits - 1 - zeroPoint);
  }
}

/** The loop by itself, over plain numbers: it is the whole cost of calibration. */
function squaredError(counts: Float64Array, first: number, width: number, scale: number, low: number, high: number) {
  const inverse = 1 / scale;
  let error = 0;
  for (let bin = 0; bin < BINS; bin++) {
    const x = first + bin * width;
    const d = x - scale * Math.min(Math.max(Math.floor(x * inverse + 0.5), low), high);
    error += counts[bin] * d * d;
  }
  return error;
}

/** [low, high] of the least squared error at a width; the whole range is among the candidates. */
export function clipRange(histogram: Histogram, bits: number): [number, number] {
  const lows = histogram.min < 0 ? SIGNED_SHARES : [1];
  const highs = histogram.min < 0 ? SIGNED_SHARES : SHARES;
  const candidates = lows.flatMap((l) => highs.map((h): [number, number] => [histogram.min * l, histogram.max * h]));
  const errors = candidates.map(([low, high]) => histogram.squaredError(codesParameters(low, high, bits)));
  return candidates[errors.indexOf(Math.min(...errors))];
}

/** The stored range of a tensor: extremes, and a clip for each width from 2 to 8. */
export function activationRange(histogram: Histogram): ActivationRange {
  const clip: ActivationRange['clip'] = {};
  for (let bits = 2; bits <= 8; bits++) clip[bits] = clipRange(histogram, bits);
  return { min: histogram.min, max: histogram.max, clip };
}
