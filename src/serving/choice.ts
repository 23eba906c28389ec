import type { VariantSource } from '../engine/engine.js';
import { ServiceError } from '../errors.js';
import type { Version } from '../model/store.js';
import { isWidth, type Precision, parsePrecision, WIDTHS, type Width } from '../quantize/precision.js';
import { checkBudget, choosePrecision } from './budget.js';
import type { Calibrator } from './calibration.js';
import type { Costs } from './costs.js';
import type { LatencyBook } from './latency.js';
import type { Budget, PrecisionChoice } from './request.js';
import { variantKey } from './variants.js';

export interface ChooserOptions {
  /** As the setting has it: a width, or empty for what the version says. */
  defaultBits: string;
  costs: Costs;
  book: LatencyBook;
  calibrator: Calibrator;
  /** Bound of the variant cache. */
  maxBytes: number;
}

/** Turns what a request says of precision into one precision. */
export class PrecisionChooser {
  readonly #options: ChooserOptions;

  constructor(options: ChooserOptions) {
    this.#options = options;
  }

  /** What can be told without a version. @throws ServiceError bits_and_budget, invalid_field */
  check(choice: PrecisionChoice): void {
    checkWidth(choice.bits, 'bits');
    checkWidth(choice.activationBits, 'activation_bits');
    if (checkBudget(choice.budget) && (choice.bits ?? choice.activationBits) !== undefined) {
      const detail = 'expected either bits and activation_bits or budgets, got both';
      throw new ServiceError('bits_and_budget', detail);
    }
  }

  /**
   * Bits alone mean bits × bits; activation bits alone go with the default weight bits; a budget chooses from the
   * version's table; nothing is the default of the service, else of the version. Named bits need not be in the table.
   * @param instances of the request: energy and latency budgets are for all of them together
   * @throws ServiceError bits_and_budget, invalid_field, no_precision_table, budget_infeasible
   */
  async choose(
    version: Version,
    choice: PrecisionChoice,
    instances: number,
    source: () => VariantSource | Promise<VariantSource>,
  ): Promise<Precision> {
    this.check(choice);
    const { bits, activationBits } = choice;
    if (bits !== undefined) return { weightBits: bits, activationBits: activationBits ?? bits };
    const budget = checkBudget(choice.budget);
    if (budget) return this.#withinBudget(version, budget, instances, source);
    const fallback = this.default(version);
    return activationBits === undefined ? fallback : { weightBits: fallback.weightBits, activationBits };
  }

  /** Precision of a request that names neither bits nor a budget. */
  default(version: Version): Precision {
    return defaultPrecision(version, this.#options.defaultBits);
  }

  async #withinBudget(
    version: Version,
    budget: Budget,
    instances: number,
    source: () => VariantSource | Promise<VariantSource>,
  ): Promise<Precision> {
    const { costs, book, calibrator, maxBytes } = this.#options;
    const table = costs.rows(version);
    // A precision that can never be resident here is no choice, unless there is no other.
    const fitting = table.filter((row) => row.memoryBytes <= maxBytes);
    const rows = fitting.length > 0 ? fitting : table;
    if (budget.maxLatencyMs !== undefined) {
      const precisions = rows.map((row) => row.precision);
      await calibrator.ensure(version, precisions, source);
    }
    const priced = rows.map((row) => {
      const ms = book.median(variantKey(version, row.precision));
      return { ...row, energyUj: row.energyUj * instances, latencyMs: ms === null ? null : ms * instances };
    });
    return choosePrecision(priced, budget).precision;
  }
}

/** @param defaultBits as the setting has it: a width, or empty for what the version says */
export function defaultPrecision({ manifest }: Version, defaultBits: string): Precision {
  return parsePrecision(defaultBits === '' ? manifest.default_precision : `${defaultBits}x${defaultBits}`);
}

function checkWidth(value: Width | undefined, field: string): void {
  if (value === undefined || isWidth(value)) return;
  const expected = `one of ${WIDTHS.join(', ')}`;
  const actual = String(value);
  throw new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}
