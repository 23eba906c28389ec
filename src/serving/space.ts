import { ServiceError } from '../errors.js';

interface Waiter {
  bytes: number;
  resolve(): void;
  timer: NodeJS.Timeout;
}

/**
 * Bytes under a bound that `used` never passes. Bytes are taken before they are allocated and given back after they are
 * freed. Who finds no room waits in line, first come first served, so that small takers do not starve a large one.
 */
export class Space {
  used = 0;
  readonly #waiters: Waiter[] = [];

  /**
   * @param max the bound
   * @param waitMs how long a taker waits at most
   * @param makeRoom frees at least so many bytes by calling {@link free}, or frees nothing and says false
   */
  constructor(
    readonly max: number,
    readonly waitMs: number,
    readonly makeRoom: (bytes: number) => boolean,
  ) {}

  /** @throws ServiceError overloaded, when nothing was set free in time */
  take(bytes: number): Promise<void> {
    if (this.#waiters.length === 0 && this.#tryTake(bytes)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(this.#overloaded(bytes));
        this.retry(); // it may have stood before one that fits
      }, this.waitMs);
      const waiter: Waiter = { bytes, resolve, timer };
      this.#waiters.push(waiter);
    });
  }

  /** Gives bytes back; call {@link retry} when the caller's own state is in order. */
  free(bytes: number): void {
    this.used -= bytes;
  }

  /** Serves those who wait, as far as there is room now. Call it whenever bytes were freed or can now be. */
  retry(): void {
    for (let first = this.#waiters[0]; first && this.#tryTake(first.bytes); first = this.#waiters[0]) {
      clearTimeout(first.timer);
      this.#waiters.shift();
      first.resolve();
    }
  }

  #tryTake(bytes: number): boolean {
    const missing = this.used + bytes - this.max;
    if (missing > 0 && !this.makeRoom(missing)) return false;
    this.used += bytes;
    return true;
  }

  #overloaded(bytes: number): ServiceError {
    const detail =
      `the variant needs ${bytes} bytes of the ${this.max} of the variant cache, ` +
      `and ${this.waitMs} ms brought no variant that nobody uses`;
    return new ServiceError('overloaded', detail, { retry_after_s: Math.max(1, Math.ceil(this.waitMs / 1000)) });
  }
}
