/** IEEE 754 binary16, rounding half to even; what overflows saturates at ±65504, so that no infinity enters a model. */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const MAX = 65504;

/** Float32 to the 16 bits of the nearest float16. */
export function toFloat16(value: number): number {
  f32[0] = Math.min(Math.max(value, -MAX), MAX);
  const bits = u32[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const mantissa = bits & 0x7fffff;
  if (exponent < -25) return sign;
  if (exponent < -14) {
    // Subnormal: a multiple of 2^-24.
    const shift = -exponent - 1;
    return sign | shiftRounded(mantissa | 0x800000, shift);
  }
  return sign | (((exponent + 15) << 10) + shiftRounded(mantissa, 13));
}

/** v / 2^shift, rounded half to even. */
function shiftRounded(v: number, shift: number): number {
  const kept = v >>> shift;
  const rest = v & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept;
}

/** The value of 16 bits of float16. */
export function fromFloat16(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const magnitude = bits & 0x7fff;
  if (magnitude < 0x400) {
    const value = magnitude * 2 ** -24;
    return sign === 0 ? value : -value;
  }
  // The exponent moves from bias 15 to bias 127; all ones stay all ones.
  u32[0] = sign | ((magnitude << 13) + (magnitude < 0x7c00 ? 0x38000000 : 0x70000000));
  return f32[0];
}

/** The nearest float16, as a number. */
export function roundToFloat16(value: number): number {
  return fromFloat16(toFloat16(value));
}
