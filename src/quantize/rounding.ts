/** 1.5·2²³: adding it to a float32 of magnitude below 2²² leaves an integer, rounded half to even by the addition. */
const MAGIC = 12582912;

/** Rounds half to even in float32. Exact for |v| ≤ 2²². */
export function roundHalfEven32(v: number): number {
  return Math.fround(v + MAGIC) - MAGIC;
}

/** Rounds half to even in float64, any magnitude. */
export function roundHalfEven(v: number): number {
  if (Math.abs(v) >= 2 ** 52) return v;
  const down = Math.floor(v);
  const rest = v - down;
  if (rest < 0.5) return down;
  if (rest > 0.5) return down + 1;
  return down % 2 === 0 ? down : down + 1;
}

/** v held to [low, high]. */
export function clamp(v: number, low: number, high: number): number {
  return Math.min(Math.max(v, low), high);
}
