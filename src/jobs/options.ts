import type { TrainingOptions } from '../training/trainer.js';
import type { Logger } from './logger.js';
import { type JobObserver, NO_OBSERVER } from './observer.js';
import type { PublicationStore } from './publication.js';
import { defaultHeapLimitMb } from './worker-host.js';

/** What every queue is opened with. */
export interface QueueOptions {
  /** Checkpoints lie below it, and the embedded queue's jobs, in its folder `jobs`. */
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
  observer?: JobObserver;
}

export const WORKER_URL = new URL('./worker.js', import.meta.url);

export const DEFAULTS = {
  workerUrl: WORKER_URL,
  maxDeaths: 3,
  cancelGraceMs: 30_000,
  closeGraceMs: 2000,
  progressIntervalMs: 500,
  heapLimitMb: defaultHeapLimitMb(),
  training: {},
  observer: NO_OBSERVER,
};
