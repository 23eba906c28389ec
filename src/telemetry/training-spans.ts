import type { Job, JobProgress } from '../jobs/job.js';
import type { AttemptObserver, JobObserver } from '../jobs/observer.js';
import { parseTraceparent } from './trace-context.js';
import { attributesOf, type Tracer } from './tracer.js';

/** Each attempt of a training job as a trace of its own, linked to the request that asked for it, its phases as steps. */
export function trainingSpans(tracer: Tracer): JobObserver {
  return {
    onAttempt(job: Job): AttemptObserver {
      const { model, dataset, architecture, epochs } = job.request;
      const facts = { jobId: job.id, requestId: job.origin?.request_id, attempt: job.attempts, model, dataset, epochs };
      const named = typeof architecture === 'string' ? architecture : undefined;
      const cause = parseTraceparent(job.origin?.traceparent);
      const span = tracer.root('training', { ...facts, architecture: named }, cause);
      let phase = { name: 'starting', since: performance.now() };
      const enter = (name: string, error?: string) => {
        const now = performance.now();
        span.onStep(phase.name, phase.since, now, { jobId: job.id }, error && { code: error });
        phase = { name, since: now };
      };
      return {
        onProgress(progress: JobProgress) {
          if (progress.phase !== phase.name) enter(progress.phase);
        },
        onEnd(now: Job | null) {
          const error = now === null ? 'unrecorded' : now.error?.code;
          enter('done', error);
          const { state, backend, result } = now ?? job;
          const version = result?.version ?? undefined;
          span.end(attributesOf({ state, backend: backend ?? undefined, version }), error);
        },
      };
    },
  };
}
