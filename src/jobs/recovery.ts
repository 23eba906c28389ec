import type { Job } from './job.js';
import type { Logger } from './logger.js';
import { findPublication, type PublicationStore } from './publication.js';
import type { JobRecord } from './record.js';
import { interrupted, succeeded } from './transitions.js';

export interface RecoveryOptions {
  store: PublicationStore;
  maxDeaths: number;
  logger: Logger;
}

type Update = (id: string, change: (record: JobRecord) => JobRecord | null) => Promise<JobRecord>;

/** What becomes of a job whose process died while it ran: done after all, cancelled, to be run again, or given up. */
export async function recover(update: Update, job: Job, options: RecoveryOptions): Promise<JobRecord> {
  const { store, maxDeaths, logger } = options;
  const result = await findPublication(store, job, logger);
  const record = await update(job.id, (r) => {
    if (r.job.state !== 'running' || r.job.attempts !== job.attempts) return null;
    return result === null ? interrupted(r, 'the process died', maxDeaths) : succeeded(r, result);
  });
  const { state } = record.job;
  logger.warn({ job: job.id, attempts: job.attempts, state }, 'a job was running when its process died');
  return record;
}
