import { ServiceError } from '../errors.js';

/** The longest that a timer of Node's can wait. */
const LONGEST_MS = 2 ** 31 - 1;

/** How long an answer is worth having. */
export interface PatienceOptions {
  /** Milliseconds from now. */
  deadlineMs?: number;
  /** Aborted when nobody waits any longer. */
  signal?: AbortSignal;
}

/** Ends when the deadline of a request has passed, or its client has gone away; whoever works for it hears of that. */
export class Patience {
  /** Why it ended; null as long as it lasts. */
  ended: ServiceError | null = null;
  readonly #listeners = new Set<(reason: ServiceError) => void>();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#end(new ServiceError('client_closed_request', 'the client went away'));

  /** Null where neither is given: there is nothing to wait for. @throws ServiceError invalid_field */
  static of({ deadlineMs, signal }: PatienceOptions): Patience | null {
    if (deadlineMs === undefined && signal === undefined) return null;
    return new Patience(deadlineMs, signal);
  }

  private constructor(deadlineMs: number | undefined, signal: AbortSignal | undefined) {
    if (deadlineMs !== undefined) {
      if (typeof deadlineMs !== 'number' || !(deadlineMs > 0)) throw wrongDeadline(deadlineMs);
      const detail = `the answer was not there within the ${deadlineMs} ms that the request gave`;
      const late = () => this.#end(new ServiceError('deadline_exceeded', detail, { timeout_ms: deadlineMs }));
      this.#timer = setTimeout(late, Math.min(deadlineMs, LONGEST_MS));
    }
    if (signal) {
      this.#signal = signal;
      if (signal.aborted) this.#onAbort();
      else signal.addEventListener('abort', this.#onAbort);
    }
  }

  /** @throws ServiceError deadline_exceeded, client_closed_request */
  check(): void {
    if (this.ended) throw this.ended;
  }

  /** Calls once, unless the returned function was called before. */
  onEnd(listener: (reason: ServiceError) => void): () => void {
    if (this.ended) listener(this.ended);
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the work comes to, or the end of patience if that is sooner; the work is not stopped by it. */
  guard<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const remove = this.onEnd(reject);
      work.then(resolve, reject).finally(remove);
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
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#listeners.clear();
  }

  #end(reason: ServiceError): void {
    if (this.ended) return;
    this.ended = reason;
    const listeners = [...this.#listeners];
    this.close();
    for (const listener of listeners) listener(reason);
  }
}

function wrongDeadline(value: unknown): ServiceError {
  const extra = { field: 'timeout_ms', expected: 'a number of milliseconds above 0', actual: String(value) };
  return new ServiceError('invalid_field', `timeout_ms: expected ${extra.expected}, got ${extra.actual}`, extra);
}
