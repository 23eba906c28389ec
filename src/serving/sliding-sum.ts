const BUCKETS = 20;

/**
 * A sum over the last while, in 20 buckets. What is older than the window by less than a bucket may still be in it, so it
 * is never less than the sum over the window itself.
 */
export class SlidingSum {
  readonly #buckets = new Float64Array(BUCKETS + 1);
  readonly #bucketMs: number;
  /** Number of the bucket that is being filled, since the clock's zero. */
  #last: number;
  #sum = 0;

  /** @param now milliseconds, of a clock that does not go back; as in every method */
  constructor(
    readonly windowMs: number,
    now: number,
  ) {
    this.#bucketMs = windowMs / BUCKETS;
    this.#last = Math.floor(now / this.#bucketMs);
  }

  add(amount: number, now: number): void {
    this.#forget(now);
    this.#buckets[this.#last % this.#buckets.length] += amount;
    this.#sum += amount;
  }

  sum(now: number): number {
    this.#forget(now);
    return this.#sum;
  }

  /** Milliseconds until the sum is at most `level`, if nothing is added; at most a window and a bucket. */
  untilAtMost(level: number, now: number): number {
    this.#forget(now);
    let left = this.#sum;
    for (let age = BUCKETS; age >= 0 && left > level; age--) {
      const bucket = this.#last - age;
      if (bucket < 0) continue;
      left -= this.#buckets[bucket % this.#buckets.length];
      if (left <= level) return (bucket + BUCKETS + 1) * this.#bucketMs - now;
    }
    return left > level ? this.windowMs + this.#bucketMs : 0;
  }

  /** Empties the buckets whose time is over. */
  #forget(now: number): void {
    const current = Math.floor(now / this.#bucketMs);
    if (current <= this.#last) return;
    const passed = Math.min(current - this.#last, this.#buckets.length);
    for (let i = 1; i <= passed; i++) this.#buckets[(this.#last + i) % this.#buckets.length] = 0;
    this.#last = current;
    // Summed anew, so that rounding does not pile up.
    this.#sum = this.#buckets.reduce((sum, amount) => sum + amount, 0);
  }
}
