import { createHash } from 'node:crypto';
import { badModel } from './fields.js';

/** SHA-256, hex. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** @throws ServiceError `bad_model` where the bytes are not those that the digest stands for */
export function checkDigest(file: string, bytes: Uint8Array, expected: string): void {
  const actual = sha256(bytes);
  if (actual !== expected) throw badModel(file, `SHA-256 ${expected}`, actual);
}
