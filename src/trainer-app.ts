/** What a process that only trains answers: whether it lives, whether it can work, what it counts. */

import type { Logger } from 'pino';
import type { Config } from './config.js';
import { createBase } from './http/base.js';
import type { Metrics } from './http/plugins/metrics.js';
import type { Readiness } from './http/plugins/readiness.js';
import { healthRoutes } from './http/routes/health.js';
import { metricsRoute } from './http/routes/operations.js';
import type { App } from './http/types.js';
import type { JobQueue } from './jobs/job.js';

export interface TrainerParts {
  config: Config;
  queue: JobQueue;
  metrics: Metrics;
  readiness: Readiness;
  logger: Logger;
}

/** Makes the app ready to listen. The caller closes the parts, after the app. */
export async function buildTrainerApp({ config, queue, metrics, readiness, logger }: TrainerParts): Promise<App> {
  const app = createBase({ config, logger, metrics, readiness, tracer: null });
  metrics.watch({ queue, readiness, variantCacheBytes: 0 });
  healthRoutes(app, { readiness, queue, facts: { role: config.role }, needsRedis: true });
  metricsRoute(app, { metrics });
  await app.ready();
  return app;
}
