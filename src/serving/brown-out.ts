/** Steps of the dial: 0 is no brown-out, the last is the cheapest precision that is allowed. */
export const STEPS = 4;

export interface BrownOutOptions {
  /** A wait for the engine that is too long, in milliseconds. */
  waitMs: number;
  /** Length of an interval. */
  intervalMs?: number;
  /** Quiet intervals after which the dial goes back by a step. */
  calm?: number;
}

/** Of `waitMs`: below this an interval is quiet. Between the two the dial stays where it is. */
const QUIET_SHARE = 0.25;
/** Of the bound on the queue: too full, and quiet. */
const FULL_SHARE = 0.75;
const EMPTY_SHARE = 0.25;

/**
 * Decides how far the bits go down under load. Time goes in intervals. One in which every batch waited too long (so a
 * short burst that drains does not count), or the queue was too full, or some were turned away, moves the dial on by a
 * step; several quiet ones in a row move it back by one. Pure: it knows the time from its callers alone and has no timer.
 */
export class BrownOut {
  readonly #waitMs: number;
  readonly #intervalMs: number;
  readonly #calm: number;
  #end: number;
  #step = 0;
  #quiet = 0;
  /** The shortest wait of this interval, and the fullest that the queue was in it. */
  #shortest = Infinity;
  #fullest = 0;
  #refused = false;

  /** @param now milliseconds, of a clock that does not go back; as in every method */
  constructor({ waitMs, intervalMs = 250, calm = 4 }: BrownOutOptions, now: number) {
    this.#waitMs = waitMs;
    this.#intervalMs = intervalMs;
    this.#calm = calm;
    this.#end = now + intervalMs;
  }

  /** The engine has taken a batch whose first request waited so long for it. */
  waited(ms: number, now: number): void {
    this.#advance(now);
    this.#shortest = Math.min(this.#shortest, ms);
  }

  /** @param share of the bound on the queue that is taken @param oldestMs how long the first of it has waited yet */
  queued(share: number, oldestMs: number, now: number): void {
    this.#advance(now);
    this.#fullest = Math.max(this.#fullest, share);
    // Who still waits has waited that long at least; it only tells where nobody was taken.
    if (this.#shortest === Infinity && oldestMs >= this.#waitMs) this.#fullest = Math.max(this.#fullest, FULL_SHARE);
  }

  /** A request was turned away. */
  refused(now: number): void {
    this.#advance(now);
    this.#refused = true;
  }

  /** 0 … {@link STEPS}. */
  step(now: number): number {
    this.#advance(now);
    return this.#step;
  }

  #advance(now: number): void {
    if (now < this.#end) return;
    this.#judge();
    this.#shortest = Infinity;
    this.#fullest = 0;
    this.#refused = false;
    this.#end += this.#intervalMs;
    if (now < this.#end) return;
    // Nothing happened in the intervals since.
    const silent = Math.floor((now - this.#end) / this.#intervalMs) + 1;
    this.#end += silent * this.#intervalMs;
    const quiet = this.#quiet + silent;
    this.#step = Math.max(this.#step - Math.floor(quiet / this.#calm), 0);
    this.#quiet = quiet % this.#calm;
  }

  #judge(): void {
    const waitedLong = this.#shortest !== Infinity && this.#shortest >= this.#waitMs;
    const waitedLittle = this.#shortest === Infinity || this.#shortest < this.#waitMs * QUIET_SHARE;
    if (waitedLong || this.#fullest >= FULL_SHARE || this.#refused) {
      this.#step = Math.min(this.#step + 1, STEPS);
      this.#quiet = 0;
    } else if (waitedLittle && this.#fullest < EMPTY_SHARE) {
      this.#quiet++;
      if (this.#quiet < this.#calm) return;
      this.#quiet = 0;
      this.#step = Math.max(this.#step - 1, 0);
    } else this.#quiet = 0;
  }
}
