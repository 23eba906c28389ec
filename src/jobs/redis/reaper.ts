import type { Job } from '../job.js';
import { recover } from '../recovery.js';
import type { Connection } from './connection.js';
import type { Dispatch } from './dispatch.js';
import type { RedisLedger } from './ledger.js';
import type { RedisQueueOptions } from './options.js';

interface Parts {
  connection: Connection;
  ledger: RedisLedger;
  dispatch: Dispatch;
}

/**
 * Ends jobs that somebody wants cancelled and whose trainer is gone. Another trainer would, but there may be none: so every
 * process looks. One whose trainer was silent at two looks, with Redis there from one to the other, has none.
 */
export class Reaper {
  readonly #parts: Parts;
  readonly #options: Required<RedisQueueOptions>;
  readonly #timer: NodeJS.Timeout;
  /** Number of the attempt by job, as of the last look. */
  #silent = new Map<string, number>();
  #looking: Promise<void> | null = null;

  constructor(parts: Parts, options: Required<RedisQueueOptions>) {
    this.#parts = parts;
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
    }, options.lockMs).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { connection, ledger } = this.#parts;
    const { lockMs, logger } = this.#options;
    const before = connection.upFor >= lockMs ? this.#silent : new Map<string, number>();
    this.#silent = new Map();
    try {
      for (const job of await ledger.unheardCancels()) {
        if (before.get(job.id) === job.attempts) await this.#end(job);
        else this.#silent.set(job.id, job.attempts);
      }
    } catch (error) {
      // Redis is away, most likely; it is looked again.
      logger.debug({ err: error }, 'cancelled jobs cannot be looked for');
    }
  }

  /** Cancelled, or succeeded where its trainer had published before it died. */
  async #end(job: Job): Promise<void> {
    const { ledger, dispatch } = this.#parts;
    await recover((id, change) => ledger.update(id, change), job, this.#options);
    await dispatch.remove(job.id);
  }
}
