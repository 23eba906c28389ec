import { join } from 'node:path';
import { hashOf } from '../model/digest.js';
import type { TrainRequest } from '../training/request.js';
import { Attempt } from './attempt.js';
import { FolderLock } from './folder-lock.js';
import { JobIds } from './identifier.js';
import type { Job, JobEvent, JobOrigin, JobQueue, JobState } from './job.js';
import { Journal } from './journal.js';
import { Ledger } from './ledger.js';
import { DEFAULTS, type QueueOptions } from './options.js';
import { recover } from './recovery.js';
import { checkKey, checkSameRequest, queueClosing, queueFull } from './submission.js';
import { accepted, cancelAsked } from './transitions.js';

/** A queue in this process: jobs on disk, one at a time on a worker thread, first in first out. */
export class EmbeddedQueue implements JobQueue {
  readonly #options: Required<QueueOptions>;
  readonly #ledger: Ledger;
  readonly #lock: FolderLock;
  readonly #ids: JobIds;
  readonly #keys = new Map<string, { id: string; requestHash: string; accepted: Promise<void> }>();
  readonly #accepting = new Set<Promise<void>>();
  #attempt: Attempt | null = null;
  #closing: Promise<void> | null = null;

  private constructor(options: Required<QueueOptions>, ledger: Ledger, lock: FolderLock) {
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
  static async open(given: QueueOptions): Promise<EmbeddedQueue> {
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

  async submit(
    request: TrainRequest,
    idempotencyKey: string | null,
    origin: JobOrigin | null = null,
  ): Promise<{ job: Job; created: boolean }> {
    if (this.#closing !== null) throw queueClosing();
    const requestHash = hashOf(request);
    if (idempotencyKey !== null) {
      checkKey(idempotencyKey);
      const used = this.#keys.get(idempotencyKey);
      if (used !== undefined) {
        checkSameRequest(used, requestHash);
        await used.accepted;
        return { job: await this.get(used.id), created: false };
      }
    }
    this.#refuseWhenFull();
    const record = accepted(this.#ids.next(), request, idempotencyKey, requestHash, origin);
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
    const record = await this.#ledger.update(id, cancelAsked);
    if (record.job.state === 'running' && this.#attempt?.id === id) this.#attempt.cancel();
    await this.#prune();
    return this.#view(record.job);
  }

  events(id: string, afterId: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    this.#ledger.get(id);
    return this.#ledger.events(id, afterId, signal);
  }

  async backend(): Promise<string | null> {
    return (await this.list()).find((job) => job.backend !== null)?.backend ?? null;
  }

  get redis(): 'off' {
    return 'off';
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
    const running = this.#ledger.records().filter((r) => r.job.state === 'running');
    for (const { job } of running) {
      await recover((id, change) => this.#ledger.update(id, change), job, this.#options);
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
    throw queueFull(maxJobs, waiting, this.#attempt?.eta ?? null);
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
