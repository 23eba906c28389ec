import { ServiceError } from '../../errors.js';
import type { JobQueue } from '../../jobs/job.js';
import type { Readiness } from '../plugins/readiness.js';
import { liveResponses, readyResponses } from '../schemas/operations.js';
import type { App } from '../types.js';

interface Options {
  readiness: Readiness;
  queue: Pick<JobQueue, 'backend' | 'redis'>;
  /** What else there is to say of this process. */
  facts: { role: string; default_model?: string; engine?: string };
  /** Without Redis a trainer has nothing to do; predictions go on. */
  needsRedis?: boolean;
}

export function healthRoutes(app: App, { readiness, queue, facts, needsRedis = false }: Options): void {
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
      const { redis } = queue;
      const backend = await queue.backend().then(
        (name) => name ?? 'not loaded',
        () => 'unknown',
      );
      const all = { ...facts, training_backend: backend, redis };
      const refuse = (detail: string): never => {
        throw new ServiceError('not_ready', detail, { state, ...all, retry_after_s: 1 });
      };
      if (needsRedis && state !== 'draining' && redis === 'down')
        refuse('expected a Redis server that answers, got none');
      if (state !== 'ready') refuse(`expected a warm default variant, got: ${reason}`);
      return { status: 'ready', ...all };
    },
  );
}
