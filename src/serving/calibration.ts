import type { Engine, VariantSource } from '../engine/engine.js';
import { type Precision, precisionKey } from '../quantize/precision.js';
import type { LatencyBook } from './latency.js';
import { type VersionId, variantKey } from './variants.js';

/** What serving logs to; a pino logger is one. */
export interface WarningLog {
  warn(fields: object, message: string): void;
}

export interface CalibratorOptions {
  engine: Engine;
  book: LatencyBook;
  logger?: WarningLog;
  /** What one calibration may take, in milliseconds; the precision that is being measured then is finished. */
  boundMs?: number;
  /** A figure older than this is measured again, in the background, while the old one goes on being used. */
  staleMs?: number;
}

/** Runs that count, after one that warms up. */
const RUNS = 5;
/** A precision whose runs take longer than this gets fewer of them. */
const PRECISION_MS = 150;

/**
 * Seeds the {@link LatencyBook}: builds each precision beside the cache, one at a time, runs it a few times on a blank
 * image and lets it go. One calibration per version at a time, whoever asks. A precision that was not reached within
 * the bound, or could not be built, stays unknown: it meets no latency budget until a later calibration or a request
 * that names it has measured it.
 */
export class Calibrator {
  readonly #options: Required<Omit<CalibratorOptions, 'logger'>> & { logger?: WarningLog };
  readonly #running = new Map<string, Promise<void>>();
  #closed = false;

  constructor({ boundMs = 3000, staleMs = 300_000, ...rest }: CalibratorOptions) {
    this.#options = { boundMs, staleMs, ...rest };
  }

  /** Resolves when every precision has a figure, or the bound is reached. */
  async ensure(
    id: VersionId,
    precisions: readonly Precision[],
    source: () => VariantSource | Promise<VariantSource>,
  ): Promise<void> {
    const { book, staleMs } = this.#options;
    const ages = precisions.map((precision) => book.age(variantKey(id, precision)));
    const old = precisions.filter((_, i) => ages[i] > staleMs);
    if (old.length === 0) return;
    let running = this.#running.get(id.digest);
    if (!running) {
      running = this.#calibrate(id, old, source).finally(() => this.#running.delete(id.digest));
      this.#running.set(id.digest, running);
    }
    if (ages.includes(Infinity)) await running;
  }

  /** Ends the calibrations after the run they are in. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#running.values());
  }

  /** Never rejects: what cannot be measured stays unknown. */
  async #calibrate(
    id: VersionId,
    precisions: readonly Precision[],
    source: () => VariantSource | Promise<VariantSource>,
  ): Promise<void> {
    const { book, boundMs, logger } = this.#options;
    const end = book.now() + boundMs;
    // The unknown before the stale.
    const keyed = precisions.map((precision) => ({ precision, key: variantKey(id, precision) }));
    keyed.sort((a, b) => Number(book.median(a.key) !== null) - Number(book.median(b.key) !== null));
    for (const { precision, key } of keyed) {
      if (this.#closed || book.now() >= end) return;
      try {
        await this.#measure(await source(), precision, key, end);
      } catch (error) {
        const what = { model: id.model, version: id.version, precision: precisionKey(precision) };
        logger?.warn({ ...what, err: error }, 'the latency of a precision could not be measured');
      }
    }
  }

  async #measure(source: VariantSource, precision: Precision, key: string, end: number): Promise<void> {
    const { engine, book } = this.#options;
    const [height, width, channels] = source.manifest.input.shape;
    const [low, high] = source.manifest.input.range;
    const blank = () => new Float32Array(height * width * channels).fill(Math.min(Math.max(0, low), high));
    const variant = await engine.build(source, precision);
    try {
      const first = await engine.run(variant, blank(), 1);
      const times: number[] = [];
      const stop = Math.min(book.now() + PRECISION_MS, end);
      while (times.length < RUNS && book.now() < stop && !this.#closed) {
        times.push((await engine.run(variant, blank(), 1)).computeMs);
      }
      book.forget(key);
      for (const ms of times.length > 0 ? times : [first.computeMs]) book.record(key, ms, 1);
    } finally {
      engine.release(variant);
    }
  }
}
