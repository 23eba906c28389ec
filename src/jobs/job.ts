import type { TrainingProgress, TrainRequest } from '../training/request.js';

export const JOB_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** Whether nothing becomes of a job any more. */
export function isTerminal(state: JobState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}

/** A training job as the store keeps it and as `GET /admin/jobs/{id}` shows it (less the idempotency fields). */
export interface Job {
  id: string;
  state: JobState;
  request: TrainRequest;
  idempotencyKey: string | null;
  /** SHA-256 of the request that first used the key. */
  requestHash: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  /** Times it was begun; above 1 after a restart. */
  attempts: number;
  progress: JobProgress;
  /** Training backend that ran it: `wasm`, `tensorflow` …; null before it began. */
  backend: string | null;
  result: JobResult | null;
  error: { code: string; message: string } | null;
  /** The request that asked for it; null where it came from somewhere else, or before this was kept. */
  origin: JobOrigin | null;
}

export interface JobOrigin {
  request_id: string;
  /** The request's place in a trace, as the W3C header has it. */
  traceparent: string | null;
}

/** What the trainer tells. */
export interface JobProgress extends Omit<TrainingProgress, 'phase'> {
  /** The trainer's, `waiting` before it and `done` after it. */
  phase: string;
}

export interface JobResult {
  model: string;
  /** null where `publish` was false. */
  version: number | null;
  digest: string | null;
  /** By precision key: held-out accuracy. */
  accuracies: Record<string, number>;
}

/** One line of a job's event log; `id` counts from 1 within the job. */
export interface JobEvent {
  id: number;
  at: string;
  type: 'state' | 'progress';
  data: Pick<Job, 'id' | 'state' | 'attempts' | 'progress' | 'result' | 'error' | 'backend'>;
}

/** What an event says of the job. */
export function eventData(job: Job): JobEvent['data'] {
  const { id, state, attempts, progress, result, error, backend } = job;
  return { id, state, attempts, progress, result, error, backend };
}

export type RedisState = 'off' | 'up' | 'down';

/** One interface of two queues, the embedded one's and the distributed one's. */
export interface JobQueue {
  /**
   * Accepts a job; when the promise resolves it survives a kill. With a key that was used before for the same request the
   * first job comes back with `created: false`; for another request: ServiceError idempotency_key_reused.
   */
  submit(
    request: TrainRequest,
    idempotencyKey: string | null,
    origin?: JobOrigin,
  ): Promise<{ job: Job; created: boolean }>;
  /** ServiceError job_not_found. */
  get(id: string): Promise<Job>;
  /** Newest first. */
  list(): Promise<Job[]>;
  /** Resolves when the cancel is recorded; a running job stops within one step. ServiceError job_not_found, job_finished. */
  cancel(id: string): Promise<Job>;
  /** Past events after `afterId`, then live ones; ends after the job's last event or on abort. */
  events(id: string, afterId: number, signal: AbortSignal): AsyncIterable<JobEvent>;
  counts(): Promise<Record<JobState, number>>;
  /** Training backend of the last job that ran; null before there was one. */
  backend(): Promise<string | null>;
  /** Whether the Redis server that keeps the jobs can be reached; `off` where there is none to reach. */
  readonly redis: RedisState;
  /** Stops taking jobs; a running one is left to be run again at the next start. */
  close(): Promise<void>;
}
