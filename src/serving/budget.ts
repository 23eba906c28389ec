import { ServiceError } from '../errors.js';
import type { Precision } from '../quantize/precision.js';
import type { Budget } from './request.js';

/** What one precision of a version's table costs for this request, and gives. */
export interface PrecisionCost {
  precision: Precision;
  /** Expected, 0..1; null where it was never measured. */
  accuracy: number | null;
  /** Of the whole request. */
  energyUj: number;
  memoryBytes: number;
  /** Of the whole request on this machine; null where it is not known, which meets no latency budget. */
  latencyMs: number | null;
}

/** One budget: its name to the caller, which way it binds, and the figure of a row that it binds. */
interface Limit {
  key: keyof Budget;
  name: string;
  /** 1: at most, −1: at least. */
  sign: 1 | -1;
  figure(row: PrecisionCost): number | null;
  max: number;
}

const LIMITS: readonly Limit[] = [
  { key: 'maxEnergyUj', name: 'max_energy_uj', sign: 1, figure: (row) => row.energyUj, max: Infinity },
  { key: 'maxMemoryKib', name: 'max_memory_kib', sign: 1, figure: (row) => row.memoryBytes / 1024, max: Infinity },
  { key: 'maxLatencyMs', name: 'max_latency_ms', sign: 1, figure: (row) => row.latencyMs, max: Infinity },
  { key: 'minAccuracy', name: 'min_accuracy', sign: -1, figure: (row) => row.accuracy, max: 1 },
];

/** The budget, or undefined where nothing in it is set. @throws ServiceError invalid_field */
export function checkBudget(budget: Budget | undefined): Budget | undefined {
  const given = LIMITS.filter((limit) => budget?.[limit.key] !== undefined);
  for (const { key, name, max } of given) {
    const value: unknown = budget?.[key];
    if (typeof value === 'number' && value >= 0 && value <= max && value < Infinity) continue;
    const expected = max === 1 ? 'a number from 0 to 1' : 'a finite number, 0 or more';
    const actual = String(value);
    throw new ServiceError('invalid_field', `${name}: expected ${expected}, got ${actual}`, {
      field: name,
      expected,
      actual,
    });
  }
  return given.length > 0 ? budget : undefined;
}

/** Whether a row keeps within every budget that is given. A figure that is not known meets none. */
export function meetsBudget(row: PrecisionCost, budget: Budget): boolean {
  return LIMITS.every((limit) => budget[limit.key] === undefined || meets(row, limit, budget));
}

function meets(row: PrecisionCost, limit: Limit, budget: Budget): boolean {
  const figure = limit.figure(row);
  return figure !== null && limit.sign * figure <= limit.sign * (budget[limit.key] as number);
}

/**
 * Among the rows that meet every budget: the highest accuracy, then the least energy, then the least memory, then the
 * first of the table. "At most" and "at least" include the bound. Where no accuracy was measured the product of the bits
 * stands for it: of one set of weights more bits lose less.
 * @throws ServiceError no_precision_table (no rows); accuracy_unknown (min_accuracy of a version whose accuracy was never
 *   measured); budget_infeasible, whose extra holds
 *   `cheapest`: the least energy among the rows that get min_accuracy (among all, where none does), and with a latency
 *   budget among those whose latency is known (where any is);
 *   `budgets`: for each budget given: what it is, what any row could meet by itself (`best_possible`), what it has to
 *   be for the cheapest (`at_cheapest`) and by how much it falls short of that. With every budget at `at_cheapest` the
 *   request is feasible.
 */
export function choosePrecision(rows: readonly PrecisionCost[], budget: Budget): PrecisionCost {
  if (rows.length === 0) {
    throw new ServiceError('no_precision_table', 'the version has no evaluated precision to choose from; name bits');
  }
  if (budget.minAccuracy !== undefined && rows.every((row) => row.accuracy === null)) {
    const detail =
      'min_accuracy: expected a version whose accuracy was measured, got one that was imported without test images';
    throw new ServiceError('accuracy_unknown', detail, { field: 'min_accuracy' });
  }
  const limits = LIMITS.filter((limit) => budget[limit.key] !== undefined);
  const feasible = rows.filter((row) => meetsBudget(row, budget));
  if (feasible.length > 0) return feasible.reduce((best, row) => (compare(row, best) < 0 ? row : best));

  let candidates = rows;
  for (const limit of limits) {
    if (limit.key !== 'minAccuracy' && limit.key !== 'maxLatencyMs') continue;
    const ok = candidates.filter((row) =>
      limit.key === 'minAccuracy' ? meets(row, limit, budget) : row.latencyMs !== null,
    );
    if (ok.length > 0) candidates = ok;
  }
  const cheapest = candidates.reduce((best, row) => (compareCost(row, best) < 0 ? row : best));
  throw infeasible(rows, cheapest, budget, limits);
}

/** Negative where a is to be preferred. */
function compare(a: PrecisionCost, b: PrecisionCost): number {
  return gain(b) - gain(a) || compareCost(a, b);
}

/** Measured accuracy; without one, below every measured one and growing with the bits. */
function gain({ accuracy, precision }: PrecisionCost): number {
  return accuracy ?? precision.weightBits * precision.activationBits - 32 * 32 - 1;
}

function compareCost(a: PrecisionCost, b: PrecisionCost): number {
  return a.energyUj - b.energyUj || a.memoryBytes - b.memoryBytes;
}

function infeasible(
  rows: readonly PrecisionCost[],
  cheapest: PrecisionCost,
  budget: Budget,
  limits: Limit[],
): ServiceError {
  const words: string[] = [];
  const budgets: Record<string, unknown> = {};
  for (const limit of limits) {
    const given = budget[limit.key] as number;
    const figures = rows.map(limit.figure).filter((figure) => figure !== null);
    const best = figures.length > 0 ? limit.sign * Math.min(...figures.map((figure) => limit.sign * figure)) : null;
    const needed = limit.figure(cheapest);
    const shortfall = needed === null ? null : Math.max(0, limit.sign * (needed - given));
    budgets[limit.name] = { given, best_possible: best, at_cheapest: needed, shortfall };
    if (needed === null) words.push(`${limit.name}: not measured yet`);
    else if (shortfall) {
      words.push(
        `${limit.name} ${given} would have to be ${limit.sign > 0 ? 'at least' : 'at most'} ` +
          `${outward(needed, limit.sign)}`,
      );
    }
  }
  const { weightBits, activationBits } = cheapest.precision;
  const name = `${weightBits} × ${activationBits} bits`;
  const detail = `no precision meets every budget; for the cheapest, ${name}, ${words.join(', ')}`;
  return new ServiceError('budget_infeasible', detail, {
    cheapest: {
      bits: weightBits,
      activation_bits: activationBits,
      energy_uj: cheapest.energyUj,
      memory_kib: cheapest.memoryBytes / 1024,
      latency_ms: cheapest.latencyMs,
      expected_accuracy: cheapest.accuracy,
    },
    budgets,
  });
}

/** Four digits, rounded to the side on which the request becomes feasible. */
function outward(value: number, sign: 1 | -1): number {
  if (value === 0) return 0;
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  const rounded = (sign > 0 ? Math.ceil(value / unit) : Math.floor(value / unit)) * unit;
  return Number(rounded.toPrecision(4));
}
