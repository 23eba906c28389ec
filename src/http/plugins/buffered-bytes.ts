/** The bound on what the bodies of all requests together take: each alone is within MAX_BODY_BYTES, but there may be many. */
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';

/** Seconds to come back after: a body is read within moments, or its client is slow and nobody can say. */
const RETRY_AFTER_S = 1;

export interface BufferedBytesOptions {
  /** Bytes at most. */
  max: number;
  /** How those past the bound are turned away. */
  status?: string;
  onRefused?: () => void;
}

/** Bytes of the bodies that are being read or belong to a request without its answer. */
export class BufferedBytes {
  readonly #options: BufferedBytesOptions;
  #bytes = 0;

  constructor(options: BufferedBytesOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get max(): number {
    return this.#options.max;
  }

  /**
   * Whoever finds nobody else there is taken in, whatever the size: alone it is bounded by MAX_BODY_BYTES.
   * @param own what the taker has already
   * @throws ServiceError overloaded, too_many_requests
   */
  take(bytes: number, own: number): void {
    if (this.#bytes > own && this.#bytes + bytes > this.max) throw this.#full();
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }

  #full(): ServiceError {
    this.#options.onRefused?.();
    const code = this.#options.status === '429' ? 'too_many_requests' : 'overloaded';
    const detail = `${this.#bytes} bytes of bodies are being read or answered, the service takes ${this.max} at a time`;
    return new ServiceError(code, detail, { retry_after_s: RETRY_AFTER_S });
  }
}

/** One request's part of them. */
export class BodyShare {
  readonly #all: BufferedBytes;
  #bytes = 0;
  #open = true;

  constructor(all: BufferedBytes) {
    this.#all = all;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @throws ServiceError overloaded, too_many_requests; client_closed_request once it was given back */
  grow(bytes: number): void {
    if (!this.#open) throw new ServiceError('client_closed_request', 'the client went away before its body was read');
    this.#all.take(bytes, this.#bytes);
    this.#bytes += bytes;
  }

  /** Gives a part of it back. */
  shrink(bytes: number): void {
    if (!this.#open) return;
    this.#all.give(bytes);
    this.#bytes -= bytes;
  }

  /** Gives back what is left; counts once. */
  release(): void {
    this.shrink(this.#bytes);
    this.#open = false;
  }
}

/**
 * Counts the bodies of a scope's routes from when they are wanted until the response closes, which it does once, whether it was sent
 * or nobody waited for it. One that says its length has all of its bytes beforehand or is refused unread; another one takes
 * them as they come.
 */
export function countBodies(app: App, all: BufferedBytes): void {
  // a body past it is refused for itself, unread as well
  const maxBodyBytes = app.initialConfig.bodyLimit as number;
  app.addHook('preParsing', (request, reply, _payload, done) => {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    const announced = length === undefined ? 0 : Number(length);
    const { raw } = reply;
    // of a response that is closed already nothing would be given back
    if ((announced === 0 && coding === undefined) || announced > maxBodyBytes || raw.destroyed) return done();
    const share = new BodyShare(all);
    try {
      share.grow(announced);
    } catch (error) {
      return done(error as Error);
    }
    request.bodyShare = share;
    raw.once('close', () => share.release());
    done();
  });
}
