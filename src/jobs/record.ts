import { NO_PROGRESS } from '../training/request.js';
import { isJobId } from './identifier.js';
import { JOB_STATES, type Job, type JobProgress } from './job.js';

const FORMAT = 'bitdial-job/1';

/** A job, and what the queue alone has to know about it after a restart. */
export interface JobRecord {
  readonly job: Job;
  /** Attempts that ended by the death of the process or of the worker thread. */
  readonly deaths: number;
  /** A cancel was accepted while it ran. */
  readonly cancelRequested: boolean;
  /** How far the job's checkpoint is; null without one. */
  readonly checkpoint: JobProgress | null;
}

/** As it is kept, wherever that is. @param indent spaces, for people */
export function recordText({ job, deaths, cancelRequested, checkpoint }: JobRecord, indent = 0): string {
  return JSON.stringify({ format: FORMAT, job, deaths, cancel_requested: cancelRequested, checkpoint }, null, indent);
}

/** Throws where the text is not a whole job record of that id. */
export function parseRecord(text: string, id: string): JobRecord {
  const file = JSON.parse(text) as Record<string, unknown> & { job?: Job };
  // what was kept in Redis had neither the format nor this spelling before
  const { format = FORMAT, job, deaths, checkpoint = null } = file;
  const cancelRequested = file.cancel_requested ?? file.cancelRequested;
  const expect = (right: boolean, what: string): void => {
    if (!right) throw new Error(`job record: expected ${what}`);
  };
  expect(format === FORMAT, `format ${FORMAT}`);
  expect(isJobId(id) && typeof job === 'object' && job !== null && job.id === id, `a job with the id ${id}`);
  const known = job as Job;
  expect(JOB_STATES.includes(known.state), `a state among ${JOB_STATES.join(', ')}`);
  expect(typeof known.request === 'object' && known.request !== null, 'a request');
  expect(typeof known.request.model === 'string', 'a model name in the request');
  expect(typeof known.progress === 'object' && known.progress !== null, 'a progress');
  expect(typeof known.created_at === 'string' && typeof known.requestHash === 'string', 'created_at and requestHash');
  expect(known.idempotencyKey === null || typeof known.idempotencyKey === 'string', 'an idempotency key or null');
  expect(Number.isInteger(known.attempts) && Number.isInteger(deaths), 'whole numbers of attempts and deaths');
  expect(typeof cancelRequested === 'boolean', 'cancel_requested');
  expect(typeof checkpoint === 'object', 'a checkpoint or null');
  return {
    // a record may be older than these
    job: { ...known, origin: known.origin ?? null, progress: whole(known.progress) },
    deaths: deaths as number,
    cancelRequested: cancelRequested as boolean,
    checkpoint: checkpoint === null ? null : whole(checkpoint as JobProgress),
  };
}

/** A record may be older than a field of its progress. */
function whole(progress: JobProgress): JobProgress {
  return { ...NO_PROGRESS, ...progress };
}
