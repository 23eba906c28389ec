import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DelayedError, type Job as Entry, WaitingError, Worker } from 'bullmq';
import { ServiceError } from '../../errors.js';
import { Attempt } from '../attempt.js';
import { isTerminal, type Job } from '../job.js';
import { recover } from '../recovery.js';
import { type Connection, connectionOptions, within } from './connection.js';
import { type Dispatch, QUEUE_NAME } from './dispatch.js';
import type { Keys } from './keys.js';
import type { RedisLedger } from './ledger.js';
import type { RedisQueueOptions } from './options.js';
import type { Signals } from './signals.js';

const RETRY_MS = 1000;
const CLOSE_MS = 2000;
/** Never: how often a job may die is counted in its record, as in the embedded queue. */
const MOST_STALLS = 1_000_000;
/** Beats that may be missing before a trainer counts as dead. */
const BEATS = 3;

interface Parts {
  connection: Connection;
  keys: Keys;
  ledger: RedisLedger;
  dispatch: Dispatch;
  signals: Signals;
}

/**
 * Takes jobs from BullMQ, one at a time, and runs them. BullMQ's lock says whose turn it is; when a trainer dies the lock
 * lapses and the entry goes to another one. The record in the ledger has the last word: a trainer that lost touch, and whose
 * job is another's by then, can change nothing of it any more.
 */
export class Trainer {
  readonly #id = randomUUID();
  readonly #options: Required<RedisQueueOptions>;
  readonly #parts: Parts;
  readonly #worker: Worker;
  readonly #sweeper: NodeJS.Timeout;
  #attempt: Attempt | null = null;
  #closing = false;

  constructor(parts: Parts, options: Required<RedisQueueOptions>) {
    this.#parts = parts;
    this.#options = options;
    const { lockMs, logger } = options;
    this.#worker = new Worker(QUEUE_NAME, (entry, token) => this.#take(entry, token ?? ''), {
      prefix: parts.keys.root,
      connection: { url: options.url, ...connectionOptions({ maxRetriesPerRequest: null }) },
      concurrency: 1,
      lockDuration: lockMs,
      stalledInterval: Math.ceil(lockMs / 3),
      maxStalledCount: MOST_STALLS,
      runRetryDelay: RETRY_MS,
      drainDelay: 2,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    this.#worker.on('error', (error) => logger.debug({ reason: error.message }, 'the worker of the job queue'));
    parts.connection.onUp(() => void this.#sweep());
    this.#sweeper = setInterval(() => void this.#sweep(), lockMs).unref();
  }

  /** Leaves the running job to another trainer, which goes on from its checkpoint. */
  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#sweeper);
    await this.#attempt?.leave();
    await within(CLOSE_MS, this.#worker.close());
    await within(CLOSE_MS, this.#worker.disconnect());
  }

  /** One entry, up to where its job has ended or is another's business. */
  async #take(entry: Entry, token: string): Promise<void> {
    const id = entry.id ?? '';
    const { ledger } = this.#parts;
    for (;;) {
      const job = await this.#find(id);
      if (job === undefined || isTerminal(job.state)) return;
      if (this.#closing) {
        await entry.moveToWait(token);
        throw new WaitingError();
      }
      if (job.state === 'queued') await this.#run(job);
      else if (await this.#isAlive(id)) {
        await entry.moveToDelayed(Date.now() + this.#options.lockMs, token);
        throw new DelayedError();
      } else {
        await recover((of, change) => ledger.update(of, change), job, this.#options).catch((error) =>
          this.#wait(error),
        );
      }
    }
  }

  async #run(job: Job): Promise<void> {
    const { ledger, signals } = this.#parts;
    const attempt = new Attempt(job, ledger, this.#options);
    this.#attempt = attempt;
    const beat = (): void => void this.#beat(attempt);
    const timer = setInterval(beat, this.#options.beatMs);
    const deaf = signals.listen(job.id, beat);
    try {
      await attempt.done;
      await ledger.prune(this.#options.maxJobs).catch(() => undefined);
    } finally {
      this.#attempt = null;
      clearInterval(timer);
      deaf();
    }
  }

  /** Tells that the attempt lives; hears of a cancel, and that the job is another's. */
  async #beat(attempt: Attempt): Promise<void> {
    const { number } = attempt;
    if (number === null) return;
    try {
      const answer = await this.#parts.ledger.beat(attempt.id, number, this.#id, BEATS * this.#options.beatMs);
      if (answer === 'cancel') attempt.cancel();
      if (answer === 'lost') attempt.lose();
    } catch {
      // Redis is away: the training goes on, and whether it still counts is asked when it is back.
    }
  }

  /**
   * Whether another trainer runs the job though its lock has lapsed: so it is when Redis was away for longer than that. Then
   * all come back at once, and each gets the time to say that it is still there.
   */
  async #isAlive(id: string): Promise<boolean> {
    const { connection, ledger } = this.#parts;
    try {
      const patience = BEATS * this.#options.beatMs - connection.upFor;
      if (await ledger.isOwned(id)) return true;
      if (patience > 0) await sleep(patience);
      return await ledger.isOwned(id);
    } catch (error) {
      await this.#wait(error);
      return this.#isAlive(id);
    }
  }

  async #find(id: string): Promise<Job | undefined> {
    for (;;) {
      try {
        return (await this.#parts.ledger.record(id))?.job;
      } catch (error) {
        if (this.#closing) throw error;
        await this.#wait(error);
      }
    }
  }

  async #wait(error: unknown): Promise<void> {
    if (!(error instanceof ServiceError)) this.#options.logger.error({ err: error }, 'a job cannot be taken');
    await sleep(RETRY_MS);
  }

  /** Dispatches what has to be run and is not there to be taken: a kill came between two writes. */
  async #sweep(): Promise<void> {
    const { ledger, dispatch } = this.#parts;
    try {
      const missing = await dispatch.missing((await ledger.ids(['running', 'queued'])).sort());
      await dispatch.add(missing);
    } catch {
      // Redis is away; it is swept again when it is back.
    }
  }
}
