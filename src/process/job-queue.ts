import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { EmbeddedQueue } from '../jobs/embedded.js';
import type { Job, JobQueue } from '../jobs/job.js';
import type { ModelStore } from '../model/store.js';

/** The queue of training jobs that the settings ask for. */
export async function openJobQueue(config: Config, store: ModelStore, logger: Logger): Promise<JobQueue> {
  const { modelsDir, dataDir, maxJobs, maxImagePixels, maxDatasetBytes, trainingThreads } = config;
  const training = {
    energyTable: config.energyTable || undefined,
    threads: trainingThreads,
    maxImagePixels,
    maxDatasetBytes,
  };
  return EmbeddedQueue.open({ modelsDir, dataDir, store, maxJobs, logger, training });
}

/** Id of a job that waits or runs with the data set. */
export function jobUsing(jobs: Job[], dataset: string): string | null {
  const active = jobs.find(({ state, request }) => {
    return (state === 'queued' || state === 'running') && request.dataset === dataset;
  });
  return active?.id ?? null;
}
