/** What a process that only trains answers: whether it lives, whether it can work, what it counts. */

import type { Logger } from 'pino';
import type { Config } from './config.js';
import { securityHeaders } from './http/plugins/headers.js';
import { requestLog } from './http/plugins/logging.js';
import { type Metrics, requestMetrics } from './http/plugins/metrics.js';
import { problems } from './http/plugins/problem.js';
import { drainConnections, type Readiness } from './http/plugins/readiness.js';
import { validatorCompiler } from './http/plugins/validation.js';
import { healthRoutes } from './http/routes/health.js';
import { metricsRoute } from './http/routes/operations.js';
import { Problem } from './http/schemas/responses.js';
import { createServer } from './http/server.js';
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
  const app = createServer(config, logger, metrics);
  metrics.watch({ queue, readiness, variantCacheBytes: 0 });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addSchema(Problem);
  requestLog(app);
  requestMetrics(app, metrics);
  securityHeaders(app);
  drainConnections(app, readiness);
  problems(app, config.maxBodyBytes);
  healthRoutes(app, { readiness, queue, facts: { role: config.role }, needsRedis: true });
  metricsRoute(app, { metrics });
  await app.ready();
  return app;
}
