import type { Logger } from 'pino';
import type { Config } from '../config.js';
import type { Tracer } from '../telemetry/tracer.js';
import { securityHeaders } from './plugins/headers.js';
import { requestLog } from './plugins/logging.js';
import { type Metrics, requestMetrics } from './plugins/metrics.js';
import { closeQueuedResponses } from './plugins/pipelining.js';
import { problems } from './plugins/problem.js';
import { drainConnections, type Readiness } from './plugins/readiness.js';
import { requestTracing } from './plugins/tracing.js';
import { continueWhenRead } from './plugins/unread-bodies.js';
import { validatorCompiler } from './plugins/validation.js';
import { Problem } from './schemas/responses.js';
import { createServer } from './server.js';
import type { App } from './types.js';

export interface BaseParts {
  config: Config;
  logger: Logger;
  metrics: Metrics;
  readiness: Readiness;
  tracer: Tracer | null;
}

/** What every app of this service begins with, whatever its routes: what each request passes, in order. */
export function createBase({ config, logger, metrics, readiness, tracer }: BaseParts): App {
  const app = createServer(config, logger, metrics, tracer);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addSchema(Problem);

  requestLog(app, logger);
  requestTracing(app, tracer);
  requestMetrics(app, metrics);
  securityHeaders(app);
  drainConnections(app, readiness);
  continueWhenRead(app);
  closeQueuedResponses(app);
  problems(app);
  return app;
}
