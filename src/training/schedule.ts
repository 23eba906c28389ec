export type ScheduleKind = 'cosine' | 'one-cycle';

/** Share of the steps in which the rate grows from near 0. */
const RISE: Record<ScheduleKind, number> = { cosine: 0.03, 'one-cycle': 0.3 };

/**
 * The learning rate of a step: a linear rise, short for `cosine` and long for `one-cycle` (Smith and Topin 2018), then half a
 * cosine down to 0 (Loshchilov and Hutter 2017).
 * @param step from 0
 */
export function learningRate(peak: number, step: number, steps: number, kind: ScheduleKind = 'cosine'): number {
  const rise = Math.floor(steps * RISE[kind]);
  if (step < rise) return (peak * (step + 1)) / (rise + 1);
  return (peak / 2) * (1 + Math.cos((Math.PI * (step - rise)) / (steps - rise)));
}
