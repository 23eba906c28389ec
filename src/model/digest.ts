import { createHash } from 'node:crypto';
import { badModel } from './fields.js';

/** SHA-256, hex. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** SHA-256, hex, of a JSON value; the order of an object's keys does not matter. */
export function hashOf(value: unknown): string {
  const sorted = JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
  return sha256(sorted);
}

/** @throws ServiceError `bad_model` where the bytes are not those that the digest stands for */
export function checkDigest(file: string, bytes: Uint8Array, expected: string): void {
  const actual = sha256(bytes);
  if (actual !== expected) throw badModel(file, `SHA-256 ${expected}`, actual);
}
