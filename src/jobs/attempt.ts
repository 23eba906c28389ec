import { setTimeout as sleep } from 'node:timers/promises';
import type { TrainingOptions } from '../training/trainer.js';
import type { Job, JobProgress } from './job.js';
import { type Logger, marked } from './logger.js';
import type { AttemptObserver, JobObserver } from './observer.js';
import { findPublication, type PublicationStore } from './publication.js';
import type { JobRecord } from './record.js';
import { Throttle } from './throttle.js';
import { advanced, cancelled, failed, interrupted, requeued, started, succeeded } from './transitions.js';
import { type Outcome, startWorker, type WorkerRun } from './worker-host.js';
import { STOP, type WorkerNews } from './worker-protocol.js';

/** What an attempt needs of where the jobs are kept. */
export interface AttemptLedger {
  /** Changes a job; `change` sees the newest record and gives the next one, or null for none. */
  update(id: string, change: (record: JobRecord) => JobRecord | null): Promise<JobRecord>;
  announceProgress(job: Job): Promise<void>;
  /** Where the trainer keeps what a next attempt goes on from. */
  checkpointPath(id: string): string;
}

export interface AttemptOptions {
  modelsDir: string;
  dataDir: string;
  store: PublicationStore;
  logger: Logger;
  workerUrl: URL;
  maxDeaths: number;
  cancelGraceMs: number;
  closeGraceMs: number;
  progressIntervalMs: number;
  heapLimitMb: number;
  training: TrainingOptions;
  observer: JobObserver;
}

/** Milliseconds until a change that could not be put on disk is tried again. */
const RETRY_MS = 1000;

/** One run of one job, from `running` on disk to the state that it leaves there. */
export class Attempt {
  readonly id: string;
  /** Resolves when the job's next state is on disk and the thread gone; never rejects. */
  readonly done: Promise<void>;
  readonly #ledger: AttemptLedger;
  readonly #options: AttemptOptions;
  readonly #logger: Logger;
  /** As it is known here; `attempts` says which one this is. */
  #job: Job;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  /** What is known of it only in memory. */
  #live: Partial<Pick<Job, 'progress' | 'backend'>> = {};
  #worker: WorkerRun | null = null;
  #observed: AttemptObserver | null = null;
  #left = false;
  /** The worker is gone. */
  #isOver = false;

  constructor(job: Job, ledger: AttemptLedger, options: AttemptOptions) {
    this.id = job.id;
    this.#job = job;
    this.#ledger = ledger;
    this.#options = options;
    this.#logger = marked(options.logger, { job: job.id, ...originOf(job) });
    this.done = this.#execute();
  }

  /** Tells the worker to stop before its next step; the cancel must be on disk already. */
  cancel(): void {
    this.#tell(STOP.cancel, this.#options.cancelGraceMs);
  }

  /** Stops the worker and leaves the job to be run again. */
  async leave(): Promise<void> {
    this.#left = true;
    this.#tell(STOP.close, this.#options.closeGraceMs);
    await this.done;
  }

  /** Stops the worker of a job that is another process's by now. */
  lose(): void {
    if (this.#left) return;
    this.#left = true;
    // Its end is being recorded, or is already: that nobody runs the job is what it is told of then.
    if (this.#isOver) return;
    this.#logger.warn({}, 'another process has taken the job up; this one leaves it');
    this.#tell(STOP.close, this.#options.closeGraceMs);
  }

  /** 1 for the first; null before the job is `running`. */
  get number(): number | null {
    return this.#job.state === 'running' ? this.#job.attempts : null;
  }

  view(job: Job): Job {
    return job.state === 'running' ? { ...job, ...this.#live } : { ...job };
  }

  /** Seconds to go, where the worker has said so. */
  get eta(): number | null {
    return this.#live.progress?.eta_s ?? null;
  }

  #tell(why: number, graceMs: number): void {
    Atomics.compareExchange(this.#stop, 0, STOP.no, why);
    const timer = setTimeout(() => this.#worker?.terminate(), graceMs).unref();
    void this.done.then(() => clearTimeout(timer));
  }

  async #execute(): Promise<void> {
    let left: Job | null = null;
    try {
      const { job } = await this.#ledger.update(this.id, (r) => (r.job.state === 'queued' ? started(r) : null));
      if (job.state !== 'running') return;
      this.#job = job;
      this.#logger.info({ model: job.request.model, attempt: job.attempts }, 'a training job begins');
      this.#observed = this.#options.observer.onAttempt(job);
      const outcome = await this.#work(job);
      this.#isOver = true;
      left = await this.#settle(outcome);
    } catch (error) {
      // The disk, most likely: full, or away. On it the job is as it was, and its turn comes again.
      this.#logger.error({ err: error }, 'a job cannot be run');
      if (!this.#left) await sleep(RETRY_MS);
    } finally {
      this.#observed?.onEnd(left);
    }
  }

  async #work(job: Job): Promise<Outcome> {
    if (Atomics.load(this.#stop, 0) !== STOP.no) return { kind: 'stopped' };
    const { modelsDir, dataDir, workerUrl, progressIntervalMs, heapLimitMb, training } = this.#options;
    const throttle = new Throttle(progressIntervalMs);
    const { id, request, attempts: attempt } = job;
    const checkpoint = this.#ledger.checkpointPath(id);
    const input = { id, request, attempt, modelsDir, dataDir, training, checkpoint, stop: this.#stop };
    this.#worker = startWorker(workerUrl, input, {
      logger: this.#logger,
      heapLimitMb,
      onMessage: (message) => {
        this.#hear(message);
        throttle.offer(() => void this.#ledger.announceProgress(this.view(this.#job)));
      },
    });
    const outcome = await this.#worker.outcome;
    throttle.stop();
    return outcome;
  }

  #hear(message: WorkerNews): void {
    if (message.type === 'notice') this.#logger[message.level]({}, message.text);
    else if (message.type === 'backend') this.#live = { ...this.#live, backend: message.name };
    else if (message.type === 'progress') {
      this.#live = { ...this.#live, progress: message.progress };
      this.#observed?.onProgress(message.progress);
    } else void this.#advance(message.progress);
  }

  /** What cannot be recorded costs a client no more than a look at how far the job is, after a restart. */
  async #advance(checkpoint: JobProgress): Promise<void> {
    try {
      const { job } = await this.#ledger.update(this.id, (r) => (this.#holds(r) ? advanced(r, checkpoint) : null));
      if (job.state === 'running' && job.attempts === this.#job.attempts) this.#job = job;
    } catch (error) {
      this.#logger.warn({ err: error }, 'how far the checkpoint of a job is cannot be recorded');
    }
  }

  /** Puts the job's next state on disk, however long that takes; a close ends the wait. */
  async #settle(outcome: Outcome): Promise<Job | null> {
    const { store } = this.#options;
    const logger = this.#logger;
    for (;;) {
      try {
        const job = this.#job;
        // Only a worker that stopped when told has surely not published.
        const asked = outcome.kind === 'failed' || outcome.kind === 'died';
        const found = asked ? await findPublication(store, job, logger) : null;
        // Whoever hears that the job has succeeded must find its version served.
        if (outcome.kind === 'succeeded') store.refresh(job.request.model);
        const result = outcome.kind === 'succeeded' ? outcome.result : found;
        const { job: now } = await this.#ledger.update(this.id, (r) => {
          if (!this.#holds(r)) return null;
          const live = { ...r, job: { ...r.job, ...this.#live } };
          return result === null ? this.#unfinished(live, outcome) : succeeded(live, result);
        });
        logger.info({ state: now.state, error: now.error, result: now.result }, 'a training job ended');
        return now;
      } catch (error) {
        logger.error({ err: error }, 'the end of a job cannot be recorded');
        if (this.#left) return null;
        await sleep(RETRY_MS);
      }
    }
  }

  /** False where the job was taken to be dead and is another process's by now. */
  #holds({ job }: JobRecord): boolean {
    return job.state === 'running' && job.attempts === this.#job.attempts;
  }

  #unfinished(record: JobRecord, outcome: Outcome): JobRecord {
    if (outcome.kind === 'failed') return failed(record, outcome.error);
    if (record.cancelRequested) return cancelled(record);
    if (this.#left) return requeued(record);
    if (outcome.kind === 'died') return interrupted(record, outcome.reason, this.#options.maxDeaths);
    return failed(record, { code: 'training_failed', message: 'the worker stopped without having been told to' });
  }
}

/** What ties its log lines to those of the request that asked for it. */
function originOf({ origin }: Job): Record<string, unknown> {
  return origin ? { request_id: origin.request_id, trace_id: origin.traceparent?.split('-')[1] } : {};
}
