/** Compressed bodies, as the known protocols have them: gzip, and deflate, which is the zlib format. */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { ServiceError } from '../errors.js';
import type { BodyShare } from './plugins/buffered-bytes.js';
import { show } from './plugins/validation.js';

export type Coding = 'gzip' | 'deflate';

const unpack = { gzip: zlib.createGunzip, deflate: zlib.createInflate };
const pack = { gzip: promisify(zlib.gzip), deflate: promisify(zlib.deflate) };

/**
 * Gives a body as it was before its client compressed it; one that was not, at once. Stops as soon as it passes `maxBytes` or
 * finds no room in its share, so a bomb costs no more.
 * @param done with ServiceError unsupported_media_type, bad_request (damaged), body_too_large, and what the share throws
 */
export function decompress(
  body: Buffer,
  contentEncoding: string | undefined,
  { maxBytes, share }: { maxBytes: number; share?: BodyShare },
  done: (error: Error | null, body?: Buffer) => void,
): void {
  const coding = contentEncoding?.trim().toLowerCase() ?? 'identity';
  if (coding === '' || coding === 'identity') {
    done(null, body);
    return;
  }
  if (coding !== 'gzip' && coding !== 'deflate') {
    const [expected, actual] = ['gzip, deflate or identity', show(contentEncoding)];
    const extra = { field: 'content-encoding', expected, actual };
    const detail = `content-encoding: expected ${expected}, got ${actual}`;
    done(new ServiceError('unsupported_media_type', detail, extra));
    return;
  }
  const stream = unpack[coding]();
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (piece: Buffer) => {
    bytes += piece.length;
    try {
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      share?.grow(piece.length);
      pieces.push(piece);
    } catch (error) {
      stream.destroy(error as Error);
    }
  });
  stream.on('error', (error) => done(error instanceof ServiceError ? error : damaged(coding, 'something else')));
  stream.on('end', () => {
    // zlib stops where the stream ends, and says nothing of what is behind it
    const left = body.length - stream.bytesWritten;
    if (left > 0) {
      done(damaged(coding, `${left} bytes behind it`));
      return;
    }
    // from here on nobody has it as it came
    share?.shrink(body.length);
    done(null, Buffer.concat(pieces, bytes));
  });
  stream.end(body);
}

function tooLarge(maxBytes: number): ServiceError {
  const expected = `at most ${maxBytes} bytes after decompression`;
  return new ServiceError('body_too_large', `body: expected ${expected}, got more`, { expected, actual: 'more' });
}

function damaged(coding: Coding, actual: string): ServiceError {
  const expected = `a whole ${coding} stream`;
  return new ServiceError('bad_request', `body: expected ${expected}, got ${actual}`, { expected, actual });
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
