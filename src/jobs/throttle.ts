/**
 * Lets through at most one call in an interval: the first at once, the newest of those in between at the end. The
 * interval grows with a long run (a 2000th of its age, at most ten times as long), so that its log stays small.
 */
export class Throttle {
  readonly #interval: number;
  readonly #began = performance.now();
  #last = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #newest: (() => void) | null = null;

  /** @param interval milliseconds */
  constructor(interval: number) {
    this.#interval = interval;
  }

  offer(call: () => void): void {
    this.#newest = call;
    if (this.#timer !== null) return;
    const age = performance.now() - this.#began;
    const interval = Math.min(Math.max(this.#interval, age / 2000), this.#interval * 10);
    const wait = this.#last + interval - performance.now();
    if (wait <= 0) this.#pass();
    else this.#timer = setTimeout(() => this.#pass(), wait).unref();
  }

  /** Drops what waits. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#newest = null;
  }

  #pass(): void {
    const call = this.#newest;
    this.stop();
    this.#last = performance.now();
    call?.();
  }
}
