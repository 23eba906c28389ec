import type { Config } from '../config.js';
import type { VariantSource } from '../engine/engine.js';
import type { Version } from '../model/version.js';
import { type Precision, precisionKey } from '../quantize/precision.js';
import { BrownOut, STEPS } from './brown-out.js';
import type { PrecisionCost } from './budget.js';
import type { Calibrator } from './calibration.js';
import type { Costs } from './costs.js';
import { ladder, rungAt } from './ladder.js';
import type { LatencyBook } from './latency.js';
import { PowerBudget, type Reservation } from './power.js';
import type { Degradation, PrecisionChoice } from './request.js';
import { variantKey } from './variants.js';

export interface DimmerOptions {
  costs: Costs;
  book: LatencyBook;
  calibrator: Pick<Calibrator, 'ensure'>;
  config: Pick<Config, 'overloadPolicy' | 'degradeWaitMs' | 'degradeMaxDrop' | 'powerBudgetMw' | 'variantCacheBytes'>;
  now?: () => number;
}

/** What a request is served at, in the end. */
export interface Dimmed {
  precision: Precision;
  degraded?: Degradation;
  energy?: Reservation;
}

/** Milliseconds between two looks at whether the times of a version's precisions are known. */
const LOOK_MS = 1000;

/** Turns the dial of requests that left it to the service: down under load, and to keep within the power budget. */
export class Dimmer {
  readonly brownOut: BrownOut | null;
  readonly power: PowerBudget | null;
  readonly #options: DimmerOptions;
  readonly #now: () => number;
  readonly #looked = new WeakMap<object, number>();

  constructor(options: DimmerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const { overloadPolicy, degradeWaitMs: waitMs, powerBudgetMw: milliwatts } = options.config;
    this.brownOut = overloadPolicy === 'degrade' ? new BrownOut({ waitMs }, this.#now()) : null;
    this.power = milliwatts > 0 ? new PowerBudget({ milliwatts, now: this.#now }) : null;
  }

  /**
   * What the request runs at, where it would run at `base`. Bits that were named are never touched.
   * @throws ServiceError power_budget, where the cheapest that is allowed does not fit the power budget now
   */
  dim(
    version: Version,
    base: Precision,
    choice: PrecisionChoice,
    instances: number,
    source: () => VariantSource | Promise<VariantSource>,
  ): Dimmed {
    const { brownOut, power } = this;
    if (!brownOut && !power) return { precision: base };
    const named = choice.bits !== undefined || choice.activationBits !== undefined;
    if (named) {
      const energy = power?.reserve(this.#options.costs.energyUj(version, base) * instances, true);
      return { precision: base, energy };
    }
    const rows = this.#rows(version, base, instances);
    const from = rows.base;
    let chosen = from;
    if (brownOut) chosen = this.#underLoad(brownOut, version, rows, choice, source) ?? from;
    let reason: Degradation['reason'] = 'overload';
    let energy: Reservation | undefined;
    if (power) {
      power.arrived(instances);
      const fitting = this.#withinPower(power, chosen, from, rows.table, choice, instances);
      if (fitting !== chosen) [chosen, reason] = [fitting, 'power'];
      energy = power.reserve(chosen.energyUj, false);
    }
    if (precisionKey(chosen.precision) === precisionKey(base)) return { precision: base, energy };
    return { precision: chosen.precision, degraded: { from: base, reason }, energy };
  }

  #underLoad(
    brownOut: BrownOut,
    version: Version,
    { base, table }: { base: PrecisionCost; table: PrecisionCost[] },
    { budget }: PrecisionChoice,
    source: () => VariantSource | Promise<VariantSource>,
  ): PrecisionCost | undefined {
    const { degradeMaxDrop: maxDrop } = this.#options.config;
    const now = this.#now();
    const step = brownOut.step(now);
    if (step > 0)
      return rungAt(
        ladder(base, table, (row) => row.latencyMs, { maxDrop, budget }),
        step,
        STEPS,
      );
    // While there is no load: how long each would take that might be needed under load.
    if (now - (this.#looked.get(version.manifest) ?? -Infinity) < LOOK_MS) return undefined;
    this.#looked.set(version.manifest, now);
    const useful = table.filter((row) => row.accuracy !== null && row.accuracy >= (base.accuracy ?? 2) - maxDrop);
    const precisions = [base, ...useful].map((row) => row.precision);
    void this.#options.calibrator.ensure(version, precisions, source);
    return undefined;
  }

  /** The best that takes no more than the allowance, or the cheapest; that which was chosen, if it does. */
  #withinPower(
    power: PowerBudget,
    chosen: PrecisionCost,
    base: PrecisionCost,
    table: PrecisionCost[],
    { budget }: PrecisionChoice,
    instances: number,
  ): PrecisionCost {
    const allowance = power.allowanceUj() * instances;
    const fits = ({ energyUj }: PrecisionCost) => energyUj <= allowance && power.fits(energyUj);
    if (fits(chosen)) return chosen;
    const { degradeMaxDrop: maxDrop } = this.#options.config;
    const rungs = ladder(base, table, (row) => row.energyUj, { maxDrop, budget });
    const cheaper = rungs.filter((row) => row.energyUj < chosen.energyUj);
    return cheaper.find(fits) ?? cheaper.at(-1) ?? chosen;
  }

  /** The precision table for so many instances, as far as it can be resident here, and the row of one precision. */
  #rows(version: Version, precision: Precision, instances: number) {
    const { costs, book, config } = this.#options;
    const timed = (row: Omit<PrecisionCost, 'latencyMs'>): PrecisionCost => {
      const ms = book.median(variantKey(version, row.precision));
      const { accuracy, energyUj, memoryBytes } = row;
      const latencyMs = ms === null ? null : ms * instances;
      return { precision: row.precision, accuracy, energyUj: energyUj * instances, memoryBytes, latencyMs };
    };
    const base = timed({
      precision,
      accuracy: costs.accuracy(version, precision),
      energyUj: costs.energyUj(version, precision),
      memoryBytes: costs.bytes(version, precision),
    });
    const table = costs.rows(version).filter((row) => row.memoryBytes <= config.variantCacheBytes);
    return { base, table: table.map(timed) };
  }
}
