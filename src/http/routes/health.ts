import { ServiceError } from '../../errors.js';
import type { JobQueue } from '../../jobs/job.js';
import type { Readiness } from '../plugins/readiness.js';
import { liveResponses, readyResponses } from '../schemas/operations.js';
import type { App } from '../types.js';

interface Options {
  readiness: Readiness;
  queue: Pick<JobQueue, 'list'>;
  engineName: string;
  defaultModel: string;
}

export function healthRoutes(app: App, { readiness, queue, engineName, defaultModel }: Options): void {
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'live',
        tags: ['operations'],
        summary: 'Whether the process answers',
        response: liveResponses,
      },
    },
    async () => ({ status: 'live' }),
  );

  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'ready',
        tags: ['operations'],
        summary: 'Whether predictions can be sent here',
        response: readyResponses,
      },
    },
    async () => {
      const { state, reason } = readiness;
      const ran = (await queue.list()).find((job) => job.backend !== null);
      const facts = { default_model: defaultModel, engine: engineName, training_backend: ran?.backend ?? 'not loaded' };
      if (state === 'ready') return { status: 'ready', ...facts };
      const detail = `expected a warm default variant, got: ${reason}`;
      throw new ServiceError('not_ready', detail, { state, ...facts, retry_after_s: 1 });
    },
  );
}
