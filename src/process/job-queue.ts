import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { EmbeddedQueue } from '../jobs/embedded.js';
import type { Job, JobQueue } from '../jobs/job.js';
import type { JobObserver } from '../jobs/observer.js';
import type { ModelStore } from '../model/store.js';

export interface Jobs {
  queue: JobQueue;
  /** Takes a lock that all replicas share; undefined where there is but one process. */
  lock?(name: string): Promise<(() => Promise<void>) | null>;
}

/** The queue of training jobs that the settings ask for. */
export async function openJobs(
  config: Config,
  store: ModelStore,
  logger: Logger,
  observer: JobObserver,
): Promise<Jobs> {
  const { modelsDir, dataDir, maxJobs, maxImagePixels, maxDatasetBytes, trainingThreads } = config;
  const training = {
    energyTable: config.energyTable || undefined,
    threads: trainingThreads,
    maxImagePixels,
    maxDatasetBytes,
  };
  const options = { modelsDir, dataDir, store, maxJobs, logger, training, observer };
  if (config.redisUrl === '') return { queue: await EmbeddedQueue.open(options) };
  // without Redis, not even its client is read
  const { RedisQueue } = await import('../jobs/redis/queue.js');
  const { redisUrl: url, redisPrefix: prefix, role } = config;
  const queue = await RedisQueue.open({ ...options, url, prefix, trains: role !== 'serve' });
  return { queue, lock: (name) => queue.locks.take(name) };
}

/** Id of a job that waits or runs with the data set. */
export function jobUsing(jobs: Job[], dataset: string): string | null {
  const active = jobs.find(({ state, request }) => {
    return (state === 'queued' || state === 'running') && request.dataset === dataset;
  });
  return active?.id ?? null;
}
