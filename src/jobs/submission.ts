import { ServiceError } from '../errors.js';
import type { Job } from './job.js';

/** Why a queue does not take a job, in the same words whatever keeps the jobs. */

const LONGEST_KEY = 255;
/** Retry-After of a full queue where nothing better is known, and at most. */
const RETRY_AFTER_S = 60;
const LONGEST_RETRY_AFTER_S = 3600;

/** @throws ServiceError invalid_field */
export function checkKey(key: string): void {
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

/** @throws ServiceError idempotency_key_reused where the key came first with another request */
export function checkSameRequest(used: { id: string; requestHash: string }, requestHash: string): void {
  if (used.requestHash === requestHash) return;
  throw new ServiceError('idempotency_key_reused', 'expected the request that first came with this key', {
    field: 'Idempotency-Key',
    job: used.id,
  });
}

/** @param eta seconds until a running job ends, where that is known */
export function queueFull(maxJobs: number, waiting: number, eta: number | null): ServiceError {
  return new ServiceError('too_many_requests', `expected fewer than ${maxJobs} jobs waiting, there are ${waiting}`, {
    retry_after_s: Math.min(LONGEST_RETRY_AFTER_S, Math.max(1, Math.ceil(eta ?? RETRY_AFTER_S))),
  });
}

export function queueClosing(): ServiceError {
  return new ServiceError('not_ready', 'the service is stopping and takes no jobs', { retry_after_s: 1 });
}

export function jobFinished({ state }: Job): ServiceError {
  return new ServiceError('job_finished', `the job has already ended: it is ${state}`, { state });
}

export function jobNotFound(id: string): ServiceError {
  return new ServiceError('job_not_found', `there is no job ${JSON.stringify(id)}`);
}
