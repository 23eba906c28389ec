import type { ClipRule } from '../model/manifest.js';
import { clamp, roundHalfEven32 } from './rounding.js';

/**
 * Weight scales. A channel's codes are two's complement, −2^(b−1) … 2^(b−1) − 1, its zero point is 0, and its scale may
 * be negative: the one level that the negative side has more then serves the positive side. At 2 bits that is a quarter
 * of all levels (ggml's Q4_0 does the same).
 */

/** How the least-error search walks: `steps` scales, each `factor` times the last, from the min-max scale down. */
const SEARCH: Record<number, { steps: number; factor: number }> = {
  2: { steps: 24, factor: 0.9 },
  3: { steps: 24, factor: 0.93 },
  4: { steps: 20, factor: 0.95 },
  5: { steps: 16, factor: 0.96 },
  6: { steps: 12, factor: 0.97 },
  7: { steps: 12, factor: 0.98 },
  8: { steps: 12, factor: 0.988 },
};
/** Up to this width both signs of the scale are searched; above it the extra level is worth nothing. */
const BOTH_SIGNS_UP_TO = 4;
const LANES = 16;
const lanes = new Float32Array(LANES);
const numerators = new Float64Array(LANES);
const denominators = new Float64Array(LANES);

/** The least scale of the given sign at which no weight is clipped (float32). */
export function minMaxScale(w: Float32Array, bits: number, sign: 1 | -1): number {
  let low = 0;
  let high = 0;
  for (let i = 0; i < w.length; i++) {
    const v = w[i] * sign;
    if (v < low) low = v;
    else if (v > high) high = v;
  }
  const top = 2 ** (bits - 1) - 1;
  return Math.fround(sign * Math.max(high / top, -low / (top + 1)));
}

/** Codes of a channel: clamp(round half to even(w·fround(1/scale))). */
export function quantizeChannel(w: Float32Array, scale: number, bits: number, codes: Int8Array): void {
  const inverse = Math.fround(1 / scale);
  const top = 2 ** (bits - 1) - 1;
  for (let i = 0; i < w.length; i++) {
    codes[i] = roundHalfEven32(clamp(Math.fround(w[i] * inverse), -top - 1, top));
  }
}

/**
 * Σ|w − scale·code|^p in float32, element i into lane i mod 16, the lanes added in order: an order that vector hardware
 * gives at no cost, so that both builders pick the same scale.
 */
export function quantizationError(w: Float32Array, scale: number, bits: number, power: 2 | 2.4): number {
  const inverse = Math.fround(1 / scale);
  const top = 2 ** (bits - 1) - 1;
  lanes.fill(0);
  for (let i = 0; i < w.length; i++) {
    const code = roundHalfEven32(clamp(Math.fround(w[i] * inverse), -top - 1, top));
    const d = Math.fround(w[i] - Math.fround(code * scale));
    lanes[i & (LANES - 1)] += power === 2 ? Math.fround(d * d) : power24(d);
  }
  let sum = 0;
  for (let l = 0; l < LANES; l++) sum = Math.fround(sum + lanes[l]);
  return sum;
}

/**
 * |d|^2.40625 in float32 from square roots, d²·d^(1/4)·d^(1/8)·d^(1/32): IEEE 754 rounds roots alike everywhere, powers it
 * leaves to the library. It stands for 2.4.
 */
function power24(d: number): number {
  const quarter = Math.fround(Math.sqrt(Math.fround(Math.sqrt(Math.abs(d)))));
  const eighth = Math.fround(Math.sqrt(quarter));
  const last = Math.fround(Math.sqrt(Math.fround(Math.sqrt(eighth))));
  return Math.fround(Math.fround(Math.fround(Math.fround(d * d) * quarter) * eighth) * last);
}

/** The scale of the least squared error for the codes that `scale` gives: Σw·q / Σq² (float64, in lanes, as above). */
function refinedScale(w: Float32Array, scale: number, bits: number): number {
  const inverse = Math.fround(1 / scale);
  const top = 2 ** (bits - 1) - 1;
  numerators.fill(0);
  denominators.fill(0);
  for (let i = 0; i < w.length; i++) {
    const code = roundHalfEven32(clamp(Math.fround(w[i] * inverse), -top - 1, top));
    numerators[i & (LANES - 1)] += w[i] * code;
    denominators[i & (LANES - 1)] += code * code;
  }
  let numerator = 0;
  let denominator = 0;
  for (let l = 0; l < LANES; l++) {
    numerator += numerators[l];
    denominator += denominators[l];
  }
  return denominator === 0 ? scale : Math.fround(numerator / denominator);
}

/**
 * Scale of one output channel.
 * min-max: nothing is clipped, the sign that gives the smaller step. squared-error and p-2.4: the best of the search
 * above, the min-max scale among its candidates, and of two least-squares refinements; so never worse than min-max.
 * A channel of zeros has scale 1.
 * @returns a float32, not zero
 */
export function channelScale(w: Float32Array, bits: number, rule: ClipRule): number {
  const plus = minMaxScale(w, bits, 1);
  const minus = minMaxScale(w, bits, -1);
  // Denormal channels (below 1e-30) would overflow 1/scale; they are zeros to any int32 bias.
  if (plus < 1e-30 || -minus < 1e-30) return 1;
  const natural = -minus < plus ? minus : plus;
  if (rule === 'min-max') return natural;
  const power = rule === 'squared-error' ? 2 : 2.4;
  const { steps, factor } = SEARCH[bits];
  let best = natural;
  let least = quantizationError(w, natural, bits, power);
  const consider = (scale: number) => {
    const error = quantizationError(w, scale, bits, power);
    if (error < least) {
      least = error;
      best = scale;
    }
  };
  for (const start of bits <= BOTH_SIGNS_UP_TO ? [natural, natural === plus ? minus : plus] : [natural]) {
    let scale = start;
    for (let step = 0; step < steps; step++, scale *= factor) consider(Math.fround(scale));
  }
  for (let round = 0; round < 2; round++) consider(refinedScale(w, best, bits));
  return best;
}
