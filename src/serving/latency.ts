import { RecentMap } from '../model/recent-map.js';

/** Samples a median is taken over. */
const SAMPLES = 31;
/** Variants that are remembered; those not heard of for longest are forgotten. */
const MAX_KEYS = 4096;

interface Ring {
  samples: Float64Array;
  count: number;
  next: number;
  at: number;
}

/** Compute time of one image, by variant: a moving median over the last 31 runs on this machine. */
export class LatencyBook {
  readonly #rings = new RecentMap<string, Ring>();

  /** @param now in milliseconds, of a clock that does not go back */
  constructor(readonly now: () => number = () => performance.now()) {}

  /** Counts one run: what it computed, over the images of its batch. */
  record(key: string, computeMs: number, images: number): void {
    const ring = this.#rings.get(key) ?? { samples: new Float64Array(SAMPLES), count: 0, next: 0, at: 0 };
    ring.samples[ring.next] = computeMs / images;
    ring.next = (ring.next + 1) % SAMPLES;
    ring.count = Math.min(ring.count + 1, SAMPLES);
    ring.at = this.now();
    this.#rings.touch(key, ring);
    if (this.#rings.size > MAX_KEYS) this.#rings.delete(this.#rings.keys().next().value as string);
  }

  /** Milliseconds for one image; null before the first run. Of an even count, the mean of the middle two. */
  median(key: string): number | null {
    const ring = this.#rings.get(key);
    if (!ring) return null;
    const sorted = ring.samples.slice(0, ring.count).sort();
    return (sorted[(ring.count - 1) >> 1] + sorted[ring.count >> 1]) / 2;
  }

  /** Images for which so many milliseconds are enough; any number before the first run. */
  imagesWithin(key: string, ms: number): number {
    const one = this.median(key);
    return one === null ? Infinity : Math.floor(ms / one);
  }

  /** Milliseconds since the last run; Infinity before the first. */
  age(key: string): number {
    const ring = this.#rings.get(key);
    return ring ? this.now() - ring.at : Infinity;
  }

  /** Forgets what was measured of a variant. */
  forget(key: string): void {
    this.#rings.delete(key);
  }
}
