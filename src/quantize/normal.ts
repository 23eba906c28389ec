/** The normal distribution, and what is left of it between two bounds. */

const REACH = 8;
const STEPS = 512;
/** Φ at multiples of 1/STEPS from −REACH to REACH. */
const TABLE = Float64Array.from({ length: 2 * REACH * STEPS + 1 }, (_, i) => exactCdf(i / STEPS - REACH));

/** φ(z) = e^(−z²/2)/√(2π) */
export function density(z: number): number {
  return Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);
}

/** Φ(z), within 2e-7: from a table, as ranges take it a million times. */
export function cumulative(z: number): number {
  const at = (z + REACH) * STEPS;
  if (!(at > 0)) return 0;
  if (at >= TABLE.length - 1) return 1;
  const i = Math.floor(at);
  return TABLE[i] + (at - i) * (TABLE[i + 1] - TABLE[i]);
}

/**
 * Mean and variance of x = min(max(X, low), high), X normal. With α = (low − μ)/σ and β = (high − μ)/σ:
 * E x = low·Φ(α) + high·(1 − Φ(β)) + μ·(Φ(β) − Φ(α)) + σ·(φ(α) − φ(β)), and likewise E x² (Nagel et al. 2019, appendix C).
 */
export function clippedMoments(
  mean: number,
  deviation: number,
  low: number,
  high: number,
): { mean: number; variance: number } {
  if (!(deviation > 0)) return { mean: Math.min(Math.max(mean, low), high), variance: 0 };
  const [alpha, beta] = [(low - mean) / deviation, (high - mean) / deviation];
  const below = cumulative(alpha);
  const above = 1 - cumulative(beta);
  const between = 1 - below - above;
  const [atLow, atHigh] = [density(alpha), density(beta)];
  // An infinite bound is met with probability 0.
  const times = (value: number, share: number) => (share === 0 ? 0 : value * share);
  const first = times(low, below) + times(high, above) + mean * between + deviation * (atLow - atHigh);
  const square =
    times(low * low, below) +
    times(high * high, above) +
    (mean * mean + deviation * deviation) * between +
    deviation * deviation * (times(alpha, atLow) - times(beta, atHigh)) +
    2 * mean * deviation * (atLow - atHigh);
  return { mean: first, variance: Math.max(0, square - first * first) };
}

/** By the error function's expansion 7.1.26 of Abramowitz and Stegun, within 1.5e-7. */
function exactCdf(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * sum * Math.exp(-x * x);
  return z < 0 ? tail : 1 - tail;
}

/**
 * Mean and deviation of the greatest of `count` independent standard normals, by integrating z·d(Φ(z)^count).
 */
export function greatestOf(count: number): { mean: number; deviation: number } {
  let [mean, square] = [0, 0];
  const step = 1 / 64;
  for (let z = -REACH; z < REACH; z += step) {
    const share = cumulative(z + step) ** count - cumulative(z) ** count;
    const middle = z + step / 2;
    mean += middle * share;
    square += middle * middle * share;
  }
  return { mean, deviation: Math.sqrt(square - mean * mean) };
}
