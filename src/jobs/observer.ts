import type { Job, JobProgress } from './job.js';

/** Told how the attempts at jobs go; a tracer hangs here, so that jobs know none. */
export interface JobObserver {
  /** An attempt has begun; what comes back is told of the rest of it. */
  onAttempt(job: Job): AttemptObserver;
}

export interface AttemptObserver {
  onProgress(progress: JobProgress): void;
  /** The job as the attempt left it: ended, or waiting for another one; null where that could not be recorded. */
  onEnd(job: Job | null): void;
}

const DEAF: AttemptObserver = { onProgress: () => undefined, onEnd: () => undefined };

export const NO_OBSERVER: JobObserver = { onAttempt: () => DEAF };
