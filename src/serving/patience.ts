import { ServiceError } from '../errors.js';

/** The longest that a timer of Node's can wait. */
const LONGEST_MS = 2 ** 31 - 1;

/** What is used of an AbortSignal, so that who makes one for every request can give something lighter. */
export interface Leaving {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** How long an answer is worth having. */
export interface PatienceOptions {
  /** Milliseconds from now. */
  deadlineMs?: number;
  /** Aborted when nobody waits any longer. */
  signal?: Leaving;
}

/**
 * Ends when the deadline of a request has passed, or its client has gone away; whoever works for it hears of that. Most
 * requests are answered before anybody has to wait, so the signal is looked at and not listened to until somebody does.
 */
export class Patience {
  #ended: ServiceError | null = null;
  readonly #deadlineMs: number | undefined;
  readonly #signal: Leaving | undefined;
  #listeners: Set<(reason: ServiceError) => void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Null where neither is given: there is nothing to wait for. @throws ServiceError invalid_field */
  static of({ deadlineMs, signal }: PatienceOptions): Patience | null {
    if (deadlineMs === undefined && signal === undefined) return null;
    return new Patience(deadlineMs, signal);
  }

  private constructor(deadlineMs: number | undefined, signal: Leaving | undefined) {
    this.#deadlineMs = deadlineMs;
    this.#signal = signal;
    if (deadlineMs === undefined) return;
    if (typeof deadlineMs !== 'number' || !(deadlineMs > 0)) throw wrongDeadline(deadlineMs);
    this.#timer = setTimeout(this.#onLate, Math.min(deadlineMs, LONGEST_MS));
  }

  /** Why it ended; null as long as it lasts. */
  get ended(): ServiceError | null {
    if (this.#signal?.aborted) this.#onAbort();
    return this.#ended;
  }

  /** @throws ServiceError deadline_exceeded, client_closed_request */
  check(): void {
    const { ended } = this;
    if (ended) throw ended;
  }

  /** Calls once, unless the returned function was called before. */
  onEnd(listener: (reason: ServiceError) => void): () => void {
    const { ended } = this;
    if (ended) {
      listener(ended);
      return () => {};
    }
    if (!this.#listeners) {
      this.#listeners = new Set();
      this.#signal?.addEventListener('abort', this.#onAbort);
    }
    const listeners = this.#listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /**
   * What the work comes to, or the end of patience if that is sooner; the work is not stopped by it. A client that has gone
   * hears nothing, so for want of a deadline it is the work itself that ends when it sees that.
   */
  guardDeadline<T>(work: Promise<T>): Promise<T> {
    return this.#deadlineMs === undefined ? work : this.guard(work);
  }

  /** What the work comes to, or the end of patience if that is sooner; the work is not stopped by it. */
  guard<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const remove = this.onEnd(reject);
      const done = (error: unknown) => {
        remove();
        reject(error);
      };
      work.then((value) => {
        remove();
        resolve(value);
      }, done);
    });
  }

  /** The same for what is held until it is released; where it comes too late it is released here. */
  async claim<T extends { release(): void }>(work: Promise<T>): Promise<T> {
    try {
      return await this.guard(work);
    } catch (error) {
      if (this.ended) void work.then((late) => late.release()).catch(() => {});
      throw error;
    }
  }

  /** Nothing is waited for any longer. */
  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (!this.#listeners) return;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#listeners.clear();
  }

  readonly #onAbort = () => {
    if (!this.#ended) this.#end(new ServiceError('client_closed_request', 'the client went away'));
  };

  readonly #onLate = () => {
    const detail = `the answer was not there within the ${this.#deadlineMs} ms that the request gave`;
    if (!this.#ended) this.#end(new ServiceError('deadline_exceeded', detail, { timeout_ms: this.#deadlineMs }));
  };

  #end(reason: ServiceError): void {
    this.#ended = reason;
    const listeners = [...(this.#listeners ?? [])];
    this.close();
    for (const listener of listeners) listener(reason);
  }
}

function wrongDeadline(value: unknown): ServiceError {
  const extra = { field: 'timeout_ms', expected: 'a number of milliseconds above 0', actual: String(value) };
  return new ServiceError('invalid_field', `timeout_ms: expected ${extra.expected}, got ${extra.actual}`, extra);
}
