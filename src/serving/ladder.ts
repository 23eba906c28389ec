/** Which precisions may stand in for another, and in which order. */
import { meetsBudget, type PrecisionCost } from './budget.js';
import type { Budget } from './request.js';

/** Less than this much cheaper is not worth another variant. */
const STEP = 0.95;

export interface LadderOptions {
  /** How much of the accuracy of the precision that is replaced may be lost, 0..1. */
  maxDrop: number;
  /** What the request asks for; what replaces its precision meets it, too. */
  budget?: Budget;
}

/**
 * The rows that may replace `base`, best first: each with a measured accuracy within the drop, within the budget, and really
 * cheaper than the one before it (and than base). Empty where the accuracy or the cost of base is not known.
 * @param cost of a row; null where it is not known
 */
export function ladder<Row extends PrecisionCost>(
  base: Row,
  rows: readonly Row[],
  cost: (row: Row) => number | null,
  { maxDrop, budget = {} }: LadderOptions,
): Row[] {
  const limit = cost(base);
  if (base.accuracy === null || limit === null) return [];
  const floor = base.accuracy - maxDrop;
  const priced: { row: Row; accuracy: number; price: number }[] = [];
  for (const row of rows) {
    const { accuracy } = row;
    const price = cost(row);
    if (accuracy === null || price === null || accuracy < floor || !meetsBudget(row, budget)) continue;
    priced.push({ row, accuracy, price });
  }
  priced.sort((a, b) => b.accuracy - a.accuracy || a.price - b.price);
  const rungs: Row[] = [];
  let last = limit;
  for (const { row, price } of priced) {
    if (price > last * STEP) continue;
    rungs.push(row);
    last = price;
  }
  return rungs;
}

/** The rung for a step of the dial: the further on, the cheaper; the last step is the cheapest. Undefined at step 0. */
export function rungAt<Row>(rungs: readonly Row[], step: number, steps: number): Row | undefined {
  return rungs[Math.ceil((step / steps) * rungs.length) - 1];
}
