import type { TrainingProgress, TrainRequest } from '../training/request.js';
import type { TrainingOptions } from '../training/trainer.js';
import type { JobResult } from './job.js';

/** What a worker thread is started with. */
export interface WorkerInput {
  id: string;
  request: TrainRequest;
  /** 1 for the first. */
  attempt: number;
  modelsDir: string;
  dataDir: string;
  training: TrainingOptions;
  /** File that holds the training after every epoch, for the next attempt. */
  checkpoint: string;
  /** Int32Array(1) on shared memory, one of {@link STOP}; read before every step. */
  stop: Int32Array;
}

/** Why the work is to stop. */
export const STOP = { no: 0, cancel: 1, close: 2 } as const;

/** What a worker thread says while it works. */
export type WorkerNews = Exclude<WorkerMessage, { type: 'succeeded' | 'stopped' | 'failed' }>;

/** What a worker thread says; the last message is `succeeded`, `stopped` or `failed`. */
export type WorkerMessage =
  | { type: 'progress'; progress: TrainingProgress }
  | { type: 'backend'; name: string }
  /** The checkpoint is on disk, as far as this. */
  | { type: 'checkpoint'; progress: TrainingProgress }
  | { type: 'notice'; level: 'info' | 'warn'; text: string }
  | { type: 'succeeded'; result: JobResult }
  | { type: 'stopped' }
  | { type: 'failed'; error: { code: string; message: string }; stack?: string };
