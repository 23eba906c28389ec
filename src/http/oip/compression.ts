/** Compressed bodies, as Triton has them: gzip, and deflate, which is the zlib format. */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { ServiceError } from '../../errors.js';
import { show } from '../plugins/validation.js';

export type Coding = 'gzip' | 'deflate';

const unpack = { gzip: promisify(zlib.gunzip), deflate: promisify(zlib.inflate) };
const pack = { gzip: promisify(zlib.gzip), deflate: promisify(zlib.deflate) };

/**
 * A body as it was before its client compressed it. Stops as soon as it passes `maxBytes`, so a bomb costs no more.
 * @throws ServiceError unsupported_media_type, bad_request (damaged), body_too_large
 */
export async function decompress(body: Buffer, contentEncoding: string | undefined, maxBytes: number): Promise<Buffer> {
  const coding = contentEncoding?.trim().toLowerCase();
  if (coding === undefined || coding === '' || coding === 'identity') return body;
  if (coding !== 'gzip' && coding !== 'deflate') {
    const [expected, actual] = ['gzip, deflate or identity', show(contentEncoding)];
    const extra = { field: 'content-encoding', expected, actual };
    throw new ServiceError('unsupported_media_type', `content-encoding: expected ${expected}, got ${actual}`, extra);
  }
  try {
    return await unpack[coding](body, { maxOutputLength: maxBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      const expected = `at most ${maxBytes} bytes after decompression`;
      throw new ServiceError('body_too_large', `body: expected ${expected}, got more`, { expected, actual: 'more' });
    }
    const expected = `a whole ${coding} stream`;
    throw new ServiceError('bad_request', `body: expected ${expected}, got something else`, { expected });
  }
}

export function compress(body: Buffer, coding: Coding): Promise<Buffer> {
  return pack[coding](body);
}

/** Of gzip and deflate the one that `Accept-Encoding` weighs most; null where it names neither, or the identity first. */
export function acceptedCoding(acceptEncoding: string | undefined): Coding | null {
  let best: Coding | null = null;
  let most = 0;
  for (const part of (acceptEncoding ?? '').split(',')) {
    const match = /^\s*(gzip|deflate|identity)\s*(?:;\s*q=(\d*\.?\d*)\s*)?$/i.exec(part);
    if (!match) continue;
    const weight = match[2] === undefined ? 1 : Number(match[2]);
    if (!(weight > most)) continue;
    most = weight;
    const name = match[1].toLowerCase();
    best = name === 'identity' ? null : (name as Coding);
  }
  return best;
}
