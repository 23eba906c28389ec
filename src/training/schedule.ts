/** Share of the steps in which the rate grows from near 0. */
const WARM_UP = 0.03;

/**
 * The learning rate of a step: a short linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017).
 * @param step from 0
 */
export function learningRate(peak: number, step: number, steps: number): number {
  const warm = Math.floor(steps * WARM_UP);
  if (step < warm) return (peak * (step + 1)) / (warm + 1);
  return (peak / 2) * (1 + Math.cos((Math.PI * (step - warm)) / (steps - warm)));
}
