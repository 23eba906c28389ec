import type { ActivationRange } from '../model/manifest.js';
import { clamp, roundHalfEven } from './rounding.js';

/** Activation ranges: one per tensor, found on calibration images, clipped to the least squared error at each width. */

const BINS = 2048;
/** Shares of the observed range that the clip search tries. */
const SHARES = Array.from({ length: 48 }, (_, i) => 0.955 ** i);
/** For tensors of both signs the search is over pairs, so it is coarser. */
const SIGNED_SHARES = Array.from({ length: 20 }, (_, i) => 0.9 ** i);

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

/** Counts of a tensor's values in equal bins of [min, max]; exact zeros are left out, for zero is always a code. */
export class Histogram {
  readonly counts = new Float64Array(BINS);
  readonly min: number;
  readonly max: number;

  constructor(min: number, max: number) {
    this.min = Math.min(min, 0);
    this.max = Math.max(max, 0);
  }

  add(values: Float32Array): void {
    const scale = this.max > this.min ? BINS / (this.max - this.min) : 0;
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v === 0) continue;
      this.counts[clamp(Math.floor((v - this.min) * scale), 0, BINS - 1)]++;
    }
  }

  /** Σ count·(centre − quantised centre)² */
  squaredError({ bits, scale, zeroPoint }: CodesParameters): number {
    const width = (this.max - this.min) / BINS;
    const levels = 2 ** bits - 1;
    let error = 0;
    for (let bin = 0; bin < BINS; bin++) {
      if (this.counts[bin] === 0) continue;
      const x = this.min + (bin + 0.5) * width;
      const d = x - scale * (clamp(Math.round(x / scale) + zeroPoint, 0, levels) - zeroPoint);
      error += this.counts[bin] * d * d;
    }
    return error;
  }
}

/** [low, high] of the least squared error at a width; the whole range is among the candidates. */
export function clipRange(histogram: Histogram, bits: number): [number, number] {
  let best: [number, number] = [histogram.min, histogram.max];
  let least = histogram.squaredError(codesParameters(...best, bits));
  const lows = histogram.min < 0 ? SIGNED_SHARES : [1];
  const highs = histogram.min < 0 ? SIGNED_SHARES : SHARES;
  for (const l of lows) {
    for (const h of highs) {
      const candidate: [number, number] = [histogram.min * l, histogram.max * h];
      const error = histogram.squaredError(codesParameters(...candidate, bits));
      if (error < least) {
        least = error;
        best = candidate;
      }
    }
  }
  return best;
}

/** The stored range of a tensor: extremes, and a clip for each width from 2 to 8. */
export function activationRange(histogram: Histogram): ActivationRange {
  const clip: ActivationRange['clip'] = {};
  for (let bits = 2; bits <= 8; bits++) clip[bits] = clipRange(histogram, bits);
  return { min: histogram.min, max: histogram.max, clip };
}
