import { ServiceError } from '../errors.js';
import { SlidingSum } from './sliding-sum.js';

export interface PowerOptions {
  milliwatts: number;
  /** Time over which the average is taken. */
  windowMs?: number;
  /** In milliseconds, of a clock that does not go back. */
  now?: () => number;
}

/** Energy that is set aside for a request until it has run. */
export interface Reservation {
  /** It ran. */
  spend(): void;
  /** It did not. Neither does anything after the first of them. */
  cancel(): void;
}

/** Time over which arrivals are counted: short, so that a rush is seen as it comes. */
const ARRIVALS_MS = 2000;
/** Of the budget that is shared out; the rest is for what arrivals do by chance. */
const SHARED_OUT = 0.95;

/**
 * Modelled power: the energy of answered inferences over a sliding window, 1 µJ/ms being 1 mW. What has run in the window
 * and what is set aside never come to more than budget × window, so that the average of any window is within the budget.
 * For this to be a matter of bits and not of refusals, {@link allowanceUj} shares the budget out among those who come.
 */
export class PowerBudget {
  readonly milliwatts: number;
  readonly #windowMs: number;
  readonly #now: () => number;
  readonly #spent: SlidingSum;
  /** Of requests that named their bits. */
  readonly #fixed: SlidingSum;
  readonly #arrivals: SlidingSum;
  #reserved = 0;
  /** Arrivals in a millisecond: at once up, slowly down, so that the allowance does not go to and fro. */
  #demand = 0;
  #demandAt: number;

  constructor({ milliwatts, windowMs = 10_000, now = () => performance.now() }: PowerOptions) {
    const at = now();
    this.milliwatts = milliwatts;
    this.#windowMs = windowMs;
    this.#now = now;
    this.#spent = new SlidingSum(windowMs, at);
    this.#fixed = new SlidingSum(windowMs, at);
    this.#arrivals = new SlidingSum(ARRIVALS_MS, at);
    this.#demandAt = at;
  }

  /** Average over the window, in milliwatts. */
  average(): number {
    return this.#spent.sum(this.#now()) / this.#windowMs;
  }

  /** Instances came whose precision is free. */
  arrived(instances: number): void {
    const now = this.#now();
    this.#arrivals.add(instances, now);
    this.#demand = Math.max(this.#faded(now), this.#arrivals.sum(now) / ARRIVALS_MS);
    this.#demandAt = now;
  }

  /** Microjoule that each instance may take whose precision is free, so that all who come get their share. */
  allowanceUj(): number {
    const now = this.#now();
    const left = this.milliwatts * SHARED_OUT - this.#fixed.sum(now) / this.#windowMs;
    return Math.max(left, 0) / this.#faded(now);
  }

  /** Whether so much more fits the window now. */
  fits(uj: number): boolean {
    return this.#spent.sum(this.#now()) + this.#reserved + uj <= this.milliwatts * this.#windowMs;
  }

  /** @param fixed whether the request named its bits @throws ServiceError power_budget */
  reserve(uj: number, fixed: boolean): Reservation {
    if (!this.fits(uj)) throw this.#refusal(uj);
    this.#reserved += uj;
    let open = true;
    const close = () => {
      const was = open;
      open = false;
      if (was) this.#reserved -= uj;
      return was;
    };
    return {
      spend: () => {
        if (!close()) return;
        const now = this.#now();
        this.#spent.add(uj, now);
        if (fixed) this.#fixed.add(uj, now);
      },
      cancel: close,
    };
  }

  #faded(now: number): number {
    return this.#demand * Math.exp((this.#demandAt - now) / this.#windowMs);
  }

  /** What does not fit an empty window is not told to come back. */
  #refusal(uj: number): ServiceError {
    const capacity = this.milliwatts * this.#windowMs;
    const needs = `the request needs ${digits(uj)} µJ`;
    const seconds = this.#windowMs / 1000;
    if (uj > capacity) {
      const most = `${digits(capacity)} µJ in ${seconds} s are all that ${this.milliwatts} mW allow`;
      return new ServiceError('power_budget', `${needs}, and ${most}; fewer instances or bits may fit`);
    }
    const ms = this.#spent.untilAtMost(capacity - this.#reserved - uj, this.#now());
    const left = `the modelled power of the last ${seconds} s leaves less of the ${this.milliwatts} mW that the service may take`;
    return new ServiceError('power_budget', `${needs}, and ${left}`, {
      retry_after_s: Math.max(1, Math.ceil(ms / 1000)),
    });
  }
}

function digits(uj: number): number {
  return Number(uj.toPrecision(4));
}
