import type { Engine, Variant, VariantSource } from '../engine/engine.js';
import { ServiceError } from '../errors.js';
import { RecentMap } from '../model/recent-map.js';
import { type Precision, precisionKey } from '../quantize/precision.js';
import type { ServingObserver } from './request.js';
import { Space } from './space.js';

/** What names a version here; a `Version` of the store is one. */
export interface VersionId {
  model: string;
  version: number;
  digest: string;
}

/** A variant in use. It stays resident until `release`, which counts once however often it is called. */
export interface Lease {
  readonly variant: Variant;
  /** True where it was resident before; false also for those who waited for its build. */
  readonly cached: boolean;
  release(): void;
}

export interface CachedVariant {
  id: VersionId;
  variant: Variant;
  hits: number;
  inUse: number;
}

export interface VariantCacheOptions {
  engine: Engine;
  /** Bound on the bytes of all variants, those being built included. */
  maxBytes: number;
  /** How long an acquire waits for room at most. */
  waitMs?: number;
  observer?: ServingObserver;
}

interface Entry {
  key: string;
  id: VersionId;
  /** Taken of the space for it; what the variant holds once it is built. */
  bytes: number;
  leases: number;
  hits: number;
  variant: Variant | null;
  building: Promise<Variant>;
}

/** The key of a variant: one version at one precision. */
export function variantKey(id: Pick<VersionId, 'digest'>, precision: Precision): string {
  return `${id.digest}:${precisionKey(precision)}`;
}

/**
 * Variants, built on first use and kept within a bound of bytes.
 *
 * The rule of admission: the bytes that a variant is expected to hold are taken before its build begins, dropping the
 * least recently used variants that nobody uses, or waiting a while for some to come free. After the build the figure
 * is corrected to what the variant holds; one that holds more than expected takes the difference in the same way before
 * it is admitted. So the sum over resident variants and those being built is within the bound at all times, as far as
 * the expectation is right. Recency is the end of the last lease.
 */
export class VariantCache {
  readonly #engine: Engine;
  readonly #observer: ServingObserver;
  readonly #space: Space;
  /** Least recently used first. */
  readonly #entries = new RecentMap<string, Entry>();
  #closed = false;

  constructor({ engine, maxBytes, waitMs = 2000, observer = {} }: VariantCacheOptions) {
    this.#engine = engine;
    this.#observer = observer;
    this.#space = new Space(maxBytes, waitMs, (bytes) => this.#makeRoom(bytes));
  }

  /** Bytes of the variants that are resident or being built. */
  get bytes(): number {
    return this.#space.used;
  }

  get maxBytes(): number {
    return this.#space.max;
  }

  /**
   * A lease on the variant, which is built if it is not there; all who ask meanwhile share one build, and its error if
   * it fails. A failed build leaves nothing: the next to ask builds anew.
   * @param expectedBytes what the variant will hold, or 0 where that is not known before the build
   * @throws ServiceError variant_too_large, overloaded, not_ready (closed); whatever the build throws
   */
  async acquire(
    id: VersionId,
    precision: Precision,
    source: () => VariantSource | Promise<VariantSource>,
    expectedBytes: number,
  ): Promise<Lease> {
    if (this.#closed) throw new ServiceError('not_ready', 'the service is closing');
    const key = variantKey(id, precision);
    let entry = this.#entries.get(key);
    const cached = entry?.variant != null;
    if (!entry) {
      entry = { key, id, bytes: 0, leases: 0, hits: 0, variant: null, building: undefined as never };
      this.#entries.set(key, entry);
      entry.building = this.#build(entry, precision, source, expectedBytes);
    }
    // Counted before anything is awaited: from here on the entry cannot be dropped.
    entry.leases++;
    if (cached) {
      entry.hits++;
      this.#observer.onVariantHit?.({ model: id.model });
    }
    const held = entry;
    let open = true;
    const release = () => {
      if (!open) return;
      open = false;
      this.#release(held);
    };
    try {
      return { variant: entry.variant ?? (await entry.building), cached, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Whether the variant is resident, so that an acquire does not wait. */
  has(id: VersionId, precision: Precision): boolean {
    return this.#entries.get(variantKey(id, precision))?.variant != null;
  }

  /** Resident variants, least recently used first. */
  list(model?: string): CachedVariant[] {
    const list: CachedVariant[] = [];
    for (const { id, variant, hits, leases } of this.#entries.values()) {
      if (variant && (model === undefined || id.model === model)) list.push({ id, variant, hits, inUse: leases });
    }
    return list;
  }

  /** Drops the resident variants of a model that nobody uses. */
  drop(model: string): { dropped: number; bytes: number } {
    const idle = [...this.#entries.values()].filter((entry) => entry.id.model === model && isIdle(entry));
    const bytes = idle.reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of idle) this.#evict(entry, 'dropped');
    this.#space.retry();
    return { dropped: idle.length, bytes };
  }

  /** Takes no more acquires and drops every variant: now, or when its last lease ends. */
  close(): void {
    this.#closed = true;
    for (const entry of [...this.#entries.values()].filter(isIdle)) this.#evict(entry, 'dropped');
    this.#space.retry();
  }

  async #build(
    entry: Entry,
    precision: Precision,
    source: () => VariantSource | Promise<VariantSource>,
    expectedBytes: number,
  ): Promise<Variant> {
    let built: Variant | null = null;
    try {
      await this.#reserve(entry, expectedBytes);
      const variant = await this.#engine.build(await source(), precision);
      built = variant;
      await this.#reserve(entry, variant.memoryBytes);
      entry.variant = variant;
      const { model, version } = entry.id;
      const { weightBits: bits, activationBits } = precision;
      const { memoryBytes: bytes, buildMs } = variant;
      this.#observer.onVariantBuilt?.({ model, version, bits, activationBits, bytes, buildMs });
      return variant;
    } catch (error) {
      this.#entries.delete(entry.key);
      if (built) this.#engine.release(built);
      this.#space.free(entry.bytes);
      this.#space.retry();
      throw error;
    }
  }

  /** Brings what is taken for an entry to `bytes`. */
  async #reserve(entry: Entry, bytes: number): Promise<void> {
    const { max } = this.#space;
    if (bytes > max) {
      const detail = `the variant needs ${bytes} bytes, the variant cache has ${max}; a smaller precision may fit`;
      throw new ServiceError('variant_too_large', detail, { expected: max, actual: bytes });
    }
    const more = bytes - entry.bytes;
    if (more > 0) await this.#space.take(more);
    else if (more < 0) this.#space.free(-more);
    entry.bytes = bytes;
    if (more < 0) this.#space.retry();
  }

  #release(entry: Entry): void {
    entry.leases--;
    if (this.#entries.get(entry.key) !== entry) return; // its build failed
    this.#entries.touch(entry.key, entry);
    if (!isIdle(entry)) return;
    if (this.#closed) this.#evict(entry, 'dropped');
    this.#space.retry();
  }

  /** Drops the least recently used until so many bytes are free; drops nothing where that cannot be reached. */
  #makeRoom(bytes: number): boolean {
    const victims: Entry[] = [];
    let found = 0;
    for (const entry of this.#entries.values()) {
      if (found >= bytes) break;
      if (!isIdle(entry)) continue;
      victims.push(entry);
      found += entry.bytes;
    }
    if (found < bytes) return false;
    for (const entry of victims) this.#evict(entry, 'space');
    return true;
  }

  #evict(entry: Entry, reason: 'space' | 'dropped'): void {
    this.#entries.delete(entry.key);
    this.#engine.release(entry.variant as Variant);
    this.#space.free(entry.bytes);
    this.#observer.onVariantEvicted?.({ model: entry.id.model, bytes: entry.bytes, reason });
  }
}

/** Built and leased by nobody. */
function isIdle(entry: Entry): boolean {
  return entry.variant !== null && entry.leases === 0;
}
