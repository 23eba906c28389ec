import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';

/** Bytes that are gathered into one buffer where the length is not known. */
const BLOCK = 65_536;

/**
 * Reads a body whole, and no further than it may be. Pieces are copied together as they come: each is an object of its own
 * of some 400 bytes, and a chunked body may come in pieces of one byte.
 * @param maxBytes of a body at most
 * @param done with ServiceError body_too_large, bad_request (a part of it), overloaded or too_many_requests (no room for it)
 */
export function readBody(
  request: FastifyRequest,
  payload: Readable,
  maxBytes: number,
  done: (error: Error | null, body?: Buffer) => void,
): void {
  const { 'content-length': length } = request.headers;
  const announced = length === undefined ? undefined : Number(length);
  if (announced !== undefined && announced > maxBytes) {
    done(tooLarge(maxBytes, `${announced} bytes`));
    return;
  }
  const body = new Gathered(announced ?? BLOCK);
  payload.on('data', onData).on('end', onEnd).on('error', onError);

  function onData(piece: Buffer): void {
    try {
      if (body.length + piece.length > maxBytes) throw tooLarge(maxBytes, 'more');
      if (announced === undefined) request.bodyShare?.grow(piece.length);
      body.add(piece);
    } catch (error) {
      finish(error as Error);
    }
  }

  function onEnd(): void {
    const whole = announced === undefined || announced === body.length;
    finish(whole ? null : partOfBody());
  }

  function onError(): void {
    finish(partOfBody());
  }

  function finish(error: Error | null): void {
    payload.off('data', onData).off('end', onEnd).off('error', onError);
    if (error) done(error);
    else done(null, body.whole());
  }
}

/** Pieces one behind the other, in as few buffers as may be. */
export class Gathered {
  /** Bytes. */
  length = 0;
  readonly #blocks: Buffer[] = [];
  #first: number;
  /** Bytes that the last block has room for. */
  #room = 0;

  /** @param first bytes of the first block: where it holds everything, nothing is copied a second time */
  constructor(first: number) {
    this.#first = first;
  }

  get blocks(): number {
    return this.#blocks.length;
  }

  add(piece: Buffer): void {
    for (let from = 0; from < piece.length; ) {
      if (this.#room === 0) {
        this.#room = this.#blocks.length === 0 ? this.#first : BLOCK;
        this.#blocks.push(Buffer.allocUnsafe(this.#room));
      }
      const block = this.#blocks[this.#blocks.length - 1];
      const copied = piece.copy(block, block.length - this.#room, from);
      from += copied;
      this.#room -= copied;
      this.length += copied;
    }
  }

  whole(): Buffer {
    const [block] = this.#blocks;
    return this.length === block?.length ? block : Buffer.concat(this.#blocks, this.length);
  }
}

function tooLarge(maxBytes: number, actual: string): ServiceError {
  const expected = `at most ${maxBytes} bytes`;
  return new ServiceError('body_too_large', `body: expected ${expected}, got ${actual}`, { expected, actual });
}

function partOfBody(): ServiceError {
  return new ServiceError('bad_request', 'body: expected all of it, got a part');
}
