import { ServiceError } from '../errors.js';
import { SlidingSum } from './sliding-sum.js';

/** Time over which it is counted how fast the queue drains. */
const WINDOW_MS = 5000;
/** Nobody is told to wait longer than this, in seconds. */
const LONGEST_S = 60;

export interface AdmissionOptions {
  /** Instances that wait or run at most, of all requests together. */
  max: number;
  /** How those past the bound are turned away. */
  status?: '503' | '429';
  /** In milliseconds, of a clock that does not go back. */
  now?: () => number;
}

/** The place of one request. */
export interface Place {
  /** Takes places for all instances, now that their number is known. @throws ServiceError overloaded, too_many_requests */
  grow(instances: number): void;
  /** Gives the places back; counts once. @param answered whether the queue drained by it */
  leave(answered: boolean): void;
}

/**
 * The bound on what waits or runs. A request has one place from its beginning, and one for each instance once they are
 * counted. One that finds nobody else there is taken whatever its size.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #now: () => number;
  /** Instances that were answered, and the milliseconds in which somebody was there: while nobody is, nothing can drain. */
  readonly #drained: SlidingSum;
  readonly #busy: SlidingSum;
  /** Up to when those milliseconds are counted. */
  #countedTo: number;
  #taken = 0;
  #requests = 0;
  /** Called when the last request leaves. */
  readonly #onIdle: (() => void)[] = [];

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#countedTo = this.#now();
    this.#drained = new SlidingSum(WINDOW_MS, this.#countedTo);
    this.#busy = new SlidingSum(WINDOW_MS, this.#countedTo);
  }

  /** Instances that wait or run; a request whose instances are not counted yet is one. */
  get taken(): number {
    return this.#taken;
  }

  get max(): number {
    return this.#options.max;
  }

  /** @throws ServiceError overloaded, too_many_requests, where a request of one instance would be turned away now */
  check(): void {
    if (this.#taken >= this.max) throw this.#full();
  }

  /** @throws ServiceError overloaded, too_many_requests */
  enter(): Place {
    this.check();
    if (this.#requests === 0) this.#countedTo = this.#now();
    let held = 1;
    this.#taken++;
    this.#requests++;
    return {
      grow: (instances) => {
        const others = this.#taken - held;
        if (others > 0 && others + instances > this.max) throw this.#full();
        this.#taken = others + instances;
        held = instances;
      },
      leave: (answered) => {
        if (held === 0) return;
        const now = this.#count();
        if (answered) this.#drained.add(held, now);
        this.#taken -= held;
        held = 0;
        this.#requests--;
        if (this.#requests === 0) for (const call of this.#onIdle.splice(0)) call();
      },
    };
  }

  /** Resolves when nobody is there. */
  idle(): Promise<void> {
    return this.#requests === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Whole seconds in which what is there drains as fast as what was there of late; 1 where nothing has drained yet. */
  retryAfterS(): number {
    const now = this.#count();
    const drained = this.#drained.sum(now);
    const seconds = drained > 0 ? (this.#taken / drained) * (this.#busy.sum(now) / 1000) : 1;
    return Math.min(Math.max(Math.ceil(seconds), 1), LONGEST_S);
  }

  #count(): number {
    const now = this.#now();
    if (this.#requests > 0) this.#busy.add(now - this.#countedTo, now);
    this.#countedTo = now;
    return now;
  }

  #full(): ServiceError {
    const code = this.#options.status === '429' ? 'too_many_requests' : 'overloaded';
    const detail = `${this.#taken} instances are waiting or running, the service takes ${this.max} at a time`;
    return new ServiceError(code, detail, { retry_after_s: this.retryAfterS() });
  }
}
