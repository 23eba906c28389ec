import { NO_PROGRESS, type TrainRequest } from '../training/request.js';
import { isTerminal, type Job, type JobOrigin, type JobProgress, type JobResult } from './job.js';
import type { JobRecord } from './record.js';
import { jobFinished } from './submission.js';

/** The changes of state that a job can go through, as pure functions of its record. */

export function accepted(
  id: string,
  request: TrainRequest,
  key: string | null,
  requestHash: string,
  origin: JobOrigin | null = null,
): JobRecord {
  return {
    job: {
      id,
      state: 'queued',
      request,
      idempotencyKey: key,
      requestHash,
      created_at: now(),
      started_at: null,
      finished_at: null,
      attempts: 0,
      progress: waiting(request),
      backend: null,
      result: null,
      error: null,
      origin,
    },
    deaths: 0,
    cancelRequested: false,
    checkpoint: null,
  };
}

/** queued → running */
export function started(record: JobRecord): JobRecord {
  return change(record, { state: 'running', attempts: record.job.attempts + 1, started_at: now() });
}

/** running → succeeded */
export function succeeded(record: JobRecord, result: JobResult): JobRecord {
  const progress: JobProgress = { ...record.job.progress, phase: 'done', progress: 1, eta_s: 0 };
  return change(record, { state: 'succeeded', finished_at: now(), result, progress });
}

/** running → failed */
export function failed(record: JobRecord, error: { code: string; message: string }): JobRecord {
  const message = error.message.length > 2000 ? `${error.message.slice(0, 2000)} …` : error.message;
  return change(record, { state: 'failed', finished_at: now(), error: { code: error.code, message } });
}

/** queued or running → cancelled */
export function cancelled(record: JobRecord): JobRecord {
  return change(record, { state: 'cancelled', finished_at: now() });
}

/**
 * What becomes of a job that somebody wants cancelled: one that waits is, one that runs is told to stop; null where it was
 * told before.
 * @throws ServiceError job_finished
 */
export function cancelAsked(record: JobRecord): JobRecord | null {
  if (isTerminal(record.job.state)) throw jobFinished(record.job);
  if (record.job.state === 'queued') return cancelled(record);
  return record.cancelRequested ? null : { ...record, cancelRequested: true };
}

/** running, and on disk as far as this. Deaths before it count no more: the job gets on. */
export function advanced(record: JobRecord, checkpoint: JobProgress): JobRecord {
  return { ...change(record, { progress: checkpoint }), deaths: 0, checkpoint };
}

/** running → queued, to be gone on with from its checkpoint, or from its beginning. */
export function requeued(record: JobRecord): JobRecord {
  const { checkpoint, job } = record;
  const progress = { ...(checkpoint ?? waiting(job.request)), phase: 'waiting', eta_s: null };
  return change(record, { state: 'queued', progress, backend: null });
}

/** What becomes of a running job whose process or thread died: run again, unless cancelled or too often. */
export function interrupted(record: JobRecord, reason: string, maxDeaths: number): JobRecord {
  const counted = { ...record, deaths: record.deaths + 1 };
  if (counted.cancelRequested) return cancelled(counted);
  if (counted.deaths < maxDeaths) return requeued(counted);
  const times = counted.deaths === 1 ? 'once' : `${counted.deaths} times`;
  return failed(counted, {
    code: 'interrupted',
    message: `the training was cut off ${times} and is not tried again; the last time: ${reason}`,
  });
}

function change(record: JobRecord, fields: Partial<Job>): JobRecord {
  return { ...record, job: { ...record.job, ...fields } };
}

function waiting(request: TrainRequest): JobProgress {
  return { phase: 'waiting', epochs: request.epochs, ...NO_PROGRESS };
}

function now(): string {
  return new Date().toISOString();
}
