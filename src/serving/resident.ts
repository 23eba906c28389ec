import { milliseconds } from './prediction.js';
import type { ResidentVariant } from './request.js';
import type { CachedVariant } from './variants.js';

/** A variant of the cache as `GET /models/{model}/variants` lists it. */
export function describeResident(
  { id, variant, hits, inUse }: CachedVariant,
  latencyMs: number | null,
): ResidentVariant {
  return {
    model: id.model,
    version: id.version,
    bits: variant.precision.weightBits,
    activation_bits: variant.precision.activationBits,
    memory_bytes: variant.memoryBytes,
    hits,
    in_use: inUse,
    engine: variant.engine,
    build_ms: milliseconds(variant.buildMs),
    latency_ms: latencyMs,
  };
}
