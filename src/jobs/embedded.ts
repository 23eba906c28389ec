import { join } from 'node:path';
import { ServiceError } from '../errors.js';
import { hashOf } from '../model/digest.js';
import type { TrainRequest } from '../training/request.js';
import type { TrainingOptions } from '../training/trainer.js';
import { Attempt } from './attempt.js';
import { isTerminal } from './event-log.js';
import { FolderLock } from './folder-lock.js';
import { JobIds } from './identifier.js';
import type { Job, JobEvent, JobQueue, JobState } from './job.js';
import { Journal } from './journal.js';
import { Ledger } from './ledger.js';
import type { Logger } from './logger.js';
import { findPublication, type PublicationStore } from './publication.js';
import { accepted, cancelled, interrupted, succeeded } from './transitions.js';
import { defaultHeapLimitMb } from './worker-host.js';

export interface EmbeddedQueueOptions {
  /** Jobs are kept in its folder `jobs`. */
  dataDir: string;
  modelsDir: string;
  store: PublicationStore;
  /** Jobs waiting at most, and finished jobs remembered at most. */
  maxJobs: number;
  logger: Logger;
  /** Script of the worker thread. */
  workerUrl?: URL;
  /** Attempts that may end by the death of process or thread before the job counts as failed. */
  maxDeaths?: number;
  /** Milliseconds until a cancelled worker that does not stop by itself is ended. */
  cancelGraceMs?: number;
  /** The same when the queue closes. */
  closeGraceMs?: number;
  /** Milliseconds between two progress events at least. */
  progressIntervalMs?: number;
  /** Megabytes of JavaScript heap of the worker thread. */
  heapLimitMb?: number;
  /** Passed on to the trainer: energy table, commit … */
  training?: TrainingOptions;
}

export const WORKER_URL = new URL('./worker.js', import.meta.url);

const DEFAULTS = {
  workerUrl: WORKER_URL,
  maxDeaths: 3,
  cancelGraceMs: 30_000,
  closeGraceMs: 2000,
  progressIntervalMs: 500,
  heapLimitMb: defaultHeapLimitMb(),
  training: {},
};
const LONGEST_KEY = 255;
/** Retry-After of a full queue where nothing better is known, and at most. */
const RETRY_AFTER_S = 60;
const LONGEST_RETRY_AFTER_S = 3600;

/** A queue in this process: jobs on disk, one at a time on a worker thread, first in first out. */
export class EmbeddedQueue implements JobQueue {
  readonly #options: Required<EmbeddedQueueOptions>;
  readonly #ledger: Ledger;
  readonly #lock: FolderLock;
  readonly #ids: JobIds;
  readonly #keys = new Map<string, { id: string; requestHash: string; accepted: Promise<void> }>();
  readonly #accepting = new Set<Promise<void>>();
  #attempt: Attempt | null = null;
  #closing: Promise<void> | null = null;

  private constructor(options: Required<EmbeddedQueueOptions>, ledger: Ledger, lock: FolderLock) {
    this.#options = options;
    this.#ledger = ledger;
    this.#lock = lock;
    const records = ledger.records();
    this.#ids = new JobIds(
      records
        .map((r) => r.job.id)
        .sort()
        .at(-1),
    );
    for (const { job } of records) {
      if (job.idempotencyKey === null) continue;
      this.#keys.set(job.idempotencyKey, { id: job.id, requestHash: job.requestHash, accepted: Promise.resolve() });
    }
  }

  /** Takes the folder, and up again what a kill left. Throws where another process has the folder. */
  static async open(given: EmbeddedQueueOptions): Promise<EmbeddedQueue> {
    const options = { ...DEFAULTS, ...given };
    const folder = join(options.dataDir, 'jobs');
    const journal = await Journal.open(folder);
    const lock = await FolderLock.acquire(folder);
    try {
      const queue = new EmbeddedQueue(options, await Ledger.open(journal, options.logger), lock);
      await queue.#recover();
      queue.#pump();
      return queue;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  async submit(request: TrainRequest, idempotencyKey: string | null): Promise<{ job: Job; created: boolean }> {
    if (this.#closing !== null) throw new ServiceError('not_ready', 'the service is stopping and takes no jobs');
    const requestHash = hashOf(request);
    if (idempotencyKey !== null) {
      checkKey(idempotencyKey);
      const used = this.#keys.get(idempotencyKey);
      if (used !== undefined) {
        if (used.requestHash !== requestHash) {
          throw new ServiceError('idempotency_key_reused', 'expected the request that first came with this key', {
            field: 'Idempotency-Key',
            job: used.id,
          });
        }
        await used.accepted;
        return { job: await this.get(used.id), created: false };
      }
    }
    this.#refuseWhenFull();
    const record = accepted(this.#ids.next(), request, idempotencyKey, requestHash);
    const { id } = record.job;
    const done = this.#ledger.add(record);
    this.#accepting.add(done);
    if (idempotencyKey !== null) this.#keys.set(idempotencyKey, { id, requestHash, accepted: done });
    try {
      await done;
    } catch (error) {
      if (idempotencyKey !== null) this.#keys.delete(idempotencyKey);
      throw error;
    } finally {
      this.#accepting.delete(done);
    }
    this.#pump();
    return { job: record.job, created: true };
  }

  async get(id: string): Promise<Job> {
    return this.#view(this.#ledger.get(id).job);
  }

  async list(): Promise<Job[]> {
    const records = this.#ledger.records().sort((a, b) => (a.job.id < b.job.id ? 1 : -1));
    return records.map((r) => this.#view(r.job));
  }

  async cancel(id: string): Promise<Job> {
    const record = await this.#ledger.update(id, (r) => {
      if (isTerminal(r.job.state)) {
        throw new ServiceError('job_finished', `the job has already ended: it is ${r.job.state}`, {
          state: r.job.state,
        });
      }
      if (r.job.state === 'queued') return cancelled(r);
      return r.cancelRequested ? null : { ...r, cancelRequested: true };
    });
    if (record.job.state === 'running' && this.#attempt?.id === id) this.#attempt.cancel();
    await this.#prune();
    return this.#view(record.job);
  }

  events(id: string, afterId: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    this.#ledger.get(id);
    return this.#ledger.events(id, afterId, signal);
  }

  async counts(): Promise<Record<JobState, number>> {
    const counts = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
    for (const { job } of this.#ledger.records()) counts[job.state]++;
    return counts;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#accepting);
    await this.#attempt?.leave();
    await this.#ledger.stop();
    await this.#lock.release();
  }

  /** Jobs that ran when the process died: done after all, cancelled, to be run again, or given up. */
  async #recover(): Promise<void> {
    const { logger, maxDeaths, store } = this.#options;
    for (const { job } of this.#ledger.records().filter((r) => r.job.state === 'running')) {
      const result = await findPublication(store, job, logger);
      const { job: now } = await this.#ledger.update(job.id, (r) =>
        result === null ? interrupted(r, 'the process died', maxDeaths) : succeeded(r, result),
      );
      logger.warn({ job: job.id, attempts: job.attempts, state: now.state }, 'a job was running when the process died');
    }
    await this.#prune();
  }

  #pump(): void {
    if (this.#attempt !== null || this.#closing !== null) return;
    const next = this.#next();
    if (next === null) return;
    this.#attempt = new Attempt(next, this.#ledger, this.#options);
    void this.#attempt.done.then(async () => {
      await this.#prune();
      this.#attempt = null;
      this.#pump();
    });
  }

  /** Of those that wait: one that was begun before, else the oldest. */
  #next(): Job | null {
    let next: Job | null = null;
    for (const { job } of this.#ledger.records()) {
      if (job.state === 'queued' && (next === null || place(job) < place(next))) next = job;
    }
    return next;
  }

  /** The job as it is this moment: how far it is stands in memory while it runs. */
  #view(job: Job): Job {
    return this.#attempt?.id === job.id ? this.#attempt.view(job) : { ...job };
  }

  #refuseWhenFull(): void {
    const { maxJobs } = this.#options;
    let waiting = this.#accepting.size;
    for (const { job } of this.#ledger.records()) if (job.state === 'queued') waiting++;
    if (waiting < maxJobs) return;
    const eta = this.#attempt?.eta ?? RETRY_AFTER_S;
    throw new ServiceError('too_many_requests', `expected fewer than ${maxJobs} jobs waiting, there are ${waiting}`, {
      retry_after_s: Math.min(LONGEST_RETRY_AFTER_S, Math.max(1, Math.ceil(eta))),
    });
  }

  /** Forgets the oldest finished jobs; one that cannot be removed now is removed another time. */
  async #prune(): Promise<void> {
    try {
      for (const { job } of await this.#ledger.prune(this.#options.maxJobs)) {
        if (job.idempotencyKey !== null) this.#keys.delete(job.idempotencyKey);
      }
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'old jobs cannot be removed');
    }
  }
}

function place(job: Job): string {
  return `${job.attempts > 0 ? 0 : 1} ${job.id}`;
}

function checkKey(key: string): void {
  if (key.length >= 1 && key.length <= LONGEST_KEY) return;
  throw new ServiceError(
    'invalid_field',
    `Idempotency-Key: expected 1 to ${LONGEST_KEY} characters, got ${key.length}`,
    {
      field: 'Idempotency-Key',
      expected: `1 to ${LONGEST_KEY} characters`,
      actual: `${key.length} characters`,
    },
  );
}
