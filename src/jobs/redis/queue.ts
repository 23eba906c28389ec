import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hashOf } from '../../model/digest.js';
import { makeFolder } from '../../model/durable.js';
import type { TrainRequest } from '../../training/request.js';
import { isJobId, JobIds } from '../identifier.js';
import { isTerminal, type Job, type JobEvent, type JobOrigin, type JobQueue, type JobState } from '../job.js';
import { checkKey, checkSameRequest, queueClosing, queueFull } from '../submission.js';
import { accepted, cancelAsked } from '../transitions.js';
import { Connection } from './connection.js';
import { Dispatch } from './dispatch.js';
import { Events } from './events.js';
import { Keys } from './keys.js';
import { RedisLedger } from './ledger.js';
import { Locks } from './lock.js';
import { REDIS_DEFAULTS, type RedisQueueOptions } from './options.js';
import { Reaper } from './reaper.js';
import { Signals } from './signals.js';
import { Trainer } from './trainer.js';

/** Below the data folder; not `jobs`, which the embedded queue takes for itself and tidies up. */
const CHECKPOINTS = 'checkpoints';
/** Past it, the checkpoint of a job that nobody knows is removed. */
const FORGOTTEN_MS = 7 * 86_400_000;

/** A queue over Redis, for any number of processes on any number of machines that share the data folder. */
export class RedisQueue implements JobQueue {
  /** Locks for other things that replicas must not do at the same time. */
  readonly locks: Locks;
  readonly #options: Required<RedisQueueOptions>;
  readonly #connection: Connection;
  readonly #signals: Signals;
  readonly #ledger: RedisLedger;
  readonly #dispatch: Dispatch;
  readonly #events: Events;
  readonly #trainer: Trainer | null;
  readonly #reaper: Reaper;
  readonly #accepting = new Set<Promise<unknown>>();
  #ids = new JobIds();
  #closing: Promise<void> | null = null;

  private constructor(options: Required<RedisQueueOptions>, connection: Connection) {
    const { url, prefix, dataDir, logger, trains } = options;
    const keys = new Keys(prefix);
    this.#options = options;
    this.#connection = connection;
    this.#signals = new Signals(url, keys.news);
    this.#ledger = new RedisLedger(connection, keys, join(dataDir, CHECKPOINTS), logger);
    this.#dispatch = new Dispatch(connection, keys, logger);
    this.#events = new Events(connection, keys, this.#signals);
    this.locks = new Locks(connection, keys);
    const parts = { connection, keys, ledger: this.#ledger, dispatch: this.#dispatch, signals: this.#signals };
    this.#reaper = new Reaper(parts, options);
    this.#trainer = trains ? new Trainer(parts, options) : null;
  }

  /** Opens also where Redis is away: until it is back the queue answers that it cannot be reached. */
  static async open(given: RedisQueueOptions): Promise<RedisQueue> {
    const options = { ...REDIS_DEFAULTS, ...given };
    const connection = new Connection(options.url, options.logger);
    try {
      if (options.trains) await makeFolder(join(options.dataDir, CHECKPOINTS));
      await connection.begun();
      const queue = new RedisQueue(options, connection);
      if (options.trains) await queue.#tidy().catch((err) => options.logger.warn({ err }, 'old checkpoints stay'));
      return queue;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  submit(
    request: TrainRequest,
    idempotencyKey: string | null,
    origin: JobOrigin | null = null,
  ): Promise<{ job: Job; created: boolean }> {
    if (this.#closing !== null) return Promise.reject(queueClosing());
    const done = this.#submit(request, idempotencyKey, origin);
    this.#accepting.add(done);
    const forget = (): void => void this.#accepting.delete(done);
    done.then(forget, forget);
    return done;
  }

  get(id: string): Promise<Job> {
    return this.#ledger.get(id);
  }

  async list(): Promise<Job[]> {
    return (await this.#ledger.list()).sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  async cancel(id: string): Promise<Job> {
    const { job } = await this.#ledger.update(id, cancelAsked);
    if (job.state !== 'cancelled') return this.#ledger.get(id);
    await this.#dispatch.remove(id);
    await this.#ledger.prune(this.#options.maxJobs).catch(() => undefined);
    return job;
  }

  events(id: string, afterId: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    return this.#events.read(id, afterId, signal);
  }

  counts(): Promise<Record<JobState, number>> {
    return this.#ledger.counts();
  }

  backend(): Promise<string | null> {
    return this.#ledger.backend();
  }

  get redis(): 'up' | 'down' {
    return this.#connection.up ? 'up' : 'down';
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#accepting);
    await this.#trainer?.close();
    await this.#reaper.close();
    this.#events.stop();
    await this.#dispatch.close();
    this.#signals.close();
    this.#connection.close();
  }

  async #submit(
    request: TrainRequest,
    key: string | null,
    origin: JobOrigin | null,
  ): Promise<{ job: Job; created: boolean }> {
    if (key !== null) checkKey(key);
    const requestHash = hashOf(request);
    const { maxJobs } = this.#options;
    for (;;) {
      const record = accepted(this.#ids.next(), request, key, requestHash, origin);
      const answer = await this.#ledger.add(record, maxJobs);
      if (answer.kind === 'added') {
        // It is accepted: should this fail, a trainer finds it by itself.
        await this.#dispatch.add([record.job.id]);
        return { job: record.job, created: true };
      }
      if (answer.kind === 'used') {
        checkSameRequest(answer, requestHash);
        return { job: await this.#ledger.get(answer.id), created: false };
      }
      if (answer.kind === 'full') throw queueFull(maxJobs, answer.waiting, await this.#eta());
      // Another process's clock is ahead: ids go on from there, so that they sort as the jobs were accepted.
      this.#ids = new JobIds(answer.last);
    }
  }

  /** Seconds until the first of the running jobs ends, as far as that is known. */
  async #eta(): Promise<number | null> {
    const etas = (await this.#ledger.list(['running'])).flatMap(({ progress }) => progress.eta_s ?? []);
    return etas.length === 0 ? null : Math.min(...etas);
  }

  /** Removes checkpoints of jobs that have ended: a kill came between two writes. */
  async #tidy(): Promise<void> {
    if (!this.#connection.up) return;
    const folder = join(this.#options.dataDir, CHECKPOINTS);
    for (const name of await readdir(folder)) {
      const [id, ending] = name.split('.', 2);
      if (!isJobId(id) || ending !== 'checkpoint') continue;
      const state = (await this.#ledger.record(id))?.job.state;
      const path = join(folder, name);
      // A job that nobody knows may be one of another Redis over the same folder.
      const isOver = state === undefined ? Date.now() - (await stat(path)).mtimeMs > FORGOTTEN_MS : isTerminal(state);
      if (isOver) await rm(path, { force: true });
    }
  }
}
