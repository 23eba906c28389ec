import { type ErrorCode, ServiceError } from '../errors.js';
import type { Admission, Place } from './admission.js';
import { Patience, type PatienceOptions } from './patience.js';
import type { RejectionReason } from './request.js';

export interface GateOptions {
  admission: Admission;
  /** A request was not answered, and not for a fault of its own. */
  onRejected: (reason: RejectionReason) => void;
}

const REJECTIONS: Partial<Record<ErrorCode, RejectionReason>> = {
  overloaded: 'overload',
  too_many_requests: 'overload',
  power_budget: 'power',
  deadline_exceeded: 'deadline',
  client_closed_request: 'disconnect',
};

/** Where requests come in: while there is room, for as long as they are worth answering, and until the service closes. */
export class Gate {
  readonly #options: GateOptions;
  #closed = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** @throws ServiceError overloaded, too_many_requests, not_ready, where nobody would be let in now */
  check(): void {
    try {
      this.#checkOpen();
      this.#options.admission.check();
    } catch (error) {
      throw this.#noted(error);
    }
  }

  /**
   * What the work comes to, or the end of the request's patience if that is sooner. The work has its place until it ends,
   * which it does by itself as soon as it sees that patience has ended.
   * @throws ServiceError overloaded, too_many_requests, not_ready, deadline_exceeded, client_closed_request, invalid_field
   */
  async pass<T>(request: PatienceOptions, work: (place: Place, patience: Patience | null) => Promise<T>): Promise<T> {
    let patience: Patience | null = null;
    try {
      this.#checkOpen();
      patience = Patience.of(request);
      const place = this.#options.admission.enter();
      const done = inPlace(place, work(place, patience));
      return await (patience ? patience.guardDeadline(done) : done);
    } catch (error) {
      throw this.#noted(error);
    } finally {
      patience?.close();
    }
  }

  /** Lets nobody in any more; resolves when the last one has left. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#options.admission.idle();
  }

  #checkOpen(): void {
    if (this.#closed) throw new ServiceError('not_ready', 'the service is closing');
  }

  #noted(error: unknown): unknown {
    const reason = error instanceof ServiceError ? REJECTIONS[error.code] : undefined;
    if (reason) this.#options.onRejected(reason);
    return error;
  }
}

async function inPlace<T>(place: Place, work: Promise<T>): Promise<T> {
  let answered = false;
  try {
    const result = await work;
    answered = true;
    return result;
  } finally {
    place.leave(answered);
  }
}
