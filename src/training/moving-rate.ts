/** Marks that a window holds: coarse enough to be few, fine enough to move smoothly. */
const MARKS = 32;

/**
 * How fast a count grows lately: over the last `window` of it, not over all time. So it forgets a slow start, a pause of the
 * machine and, beginning with the first count it is told, all that was done before.
 */
export class MovingRate {
  readonly #window: number;
  /** Oldest first. */
  readonly #marks: { count: number; at: number }[] = [];

  /** @param window of the count, above 0 */
  constructor(window: number) {
    this.#window = window;
  }

  /**
   * @param count never smaller than before
   * @param now milliseconds
   * @returns count for a second; null until it has grown
   */
  at(count: number, now: number): number | null {
    const marks = this.#marks;
    const newest = marks.at(-1);
    // The second oldest is far enough back: the oldest is needed no more.
    while (marks.length > 1 && marks[1].count <= count - this.#window) marks.shift();
    const oldest = marks[0] ?? { count, at: now };
    if (newest === undefined || count - newest.count >= this.#window / MARKS) marks.push({ count, at: now });
    return count > oldest.count && now > oldest.at ? ((count - oldest.count) / (now - oldest.at)) * 1000 : null;
  }
}
