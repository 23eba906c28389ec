/** The service on one screen: every plugin and every route, by name, in order. */

import { createBase } from './http/base.js';
import { Repository } from './http/oip/repository.js';
import { Statistics } from './http/oip/statistics.js';
import type { Parts } from './http/parts.js';
import { AdminGuard, bearerToken } from './http/plugins/auth.js';
import { jsonBodies, strictBodies } from './http/plugins/bodies.js';
import { BufferedBytes } from './http/plugins/buffered-bytes.js';
import { createLogger } from './http/plugins/logging.js';
import { Metrics } from './http/plugins/metrics.js';
import { openapi } from './http/plugins/openapi.js';
import { rateLimit } from './http/plugins/rate-limit.js';
import { Readiness } from './http/plugins/readiness.js';
import { queryBeforeBody } from './http/plugins/validation.js';
import { adminModelRoutes } from './http/routes/admin-models.js';
import { datasetRoutes } from './http/routes/datasets.js';
import { healthRoutes } from './http/routes/health.js';
import { importRoutes } from './http/routes/imports.js';
import { jobEventRoutes } from './http/routes/job-events.js';
import { jobRoutes } from './http/routes/jobs.js';
import { modelRoutes } from './http/routes/models.js';
import { inferRoutes } from './http/routes/oip-infer.js';
import { inferenceModelRoutes } from './http/routes/oip-models.js';
import { repositoryControlRoutes, repositoryIndexRoutes } from './http/routes/oip-repository.js';
import { inferenceServerRoutes } from './http/routes/oip-server.js';
import { documentRoute, metricsRoute } from './http/routes/operations.js';
import { predictRoutes } from './http/routes/predict.js';
import { tfServingRoutes } from './http/routes/tfserving.js';
import type { App } from './http/types.js';

/** Builds the service over its parts and makes it ready to listen. The caller closes the parts, after the app. */
export async function buildApp(parts: Parts): Promise<App> {
  const { config, service, store, queue, datasets, importer, adminTokens, heartbeatMs } = parts;
  const guard = new AdminGuard(adminTokens, config.authFailureLimit);
  const readiness = parts.readiness ?? new Readiness();
  const metrics = parts.metrics ?? new Metrics();
  const tracer = parts.tracer ?? null;
  const logger = parts.logger ?? createLogger(config.logLevel);
  // log, trace, count, headers, drain, problems
  const app = createBase({ config, logger, metrics, readiness, tracer });
  const buffered = new BufferedBytes({
    max: config.maxBufferedBytes,
    status: config.overloadStatus,
    onRefused: () => metrics.countRefusedBody(),
  });
  metrics.watch({ service, queue, readiness, variantCacheBytes: config.variantCacheBytes, buffered });

  rateLimit(app, config.rateLimit);
  queryBeforeBody(app);
  strictBodies(app);
  await openapi(app, parts.version ?? '0.0.0');

  await app.register(async (scope) => predictRoutes(scope as App, { service, buffered }));
  await app.register(openInference);
  await app.register(
    async (scope) => tfServingRoutes(scope as App, { service, store, buffered, maxBodyBytes: config.maxBodyBytes }),
    { prefix: '/v1' },
  );
  modelRoutes(app, { service, store, defaultModel: config.defaultModel });
  const facts = { role: config.role, default_model: config.defaultModel, engine: parts.engineName };
  healthRoutes(app, { readiness, queue, facts });
  metricsRoute(app, { metrics });
  documentRoute(app);
  await app.register(admin, { prefix: '/admin' });
  await app.ready();
  return app;

  /** The Open Inference Protocol v2. */
  async function openInference(scope: App): Promise<void> {
    const statistics = parts.statistics ?? new Statistics();
    const { maxBodyBytes } = config;
    const repository = new Repository(service, store);
    inferenceServerRoutes(scope, { readiness, version: parts.version ?? '0.0.0' });
    inferenceModelRoutes(scope, { service, store, repository, statistics, config });
    await scope.register(async (s) => inferRoutes(s as App, { service, repository, buffered, maxBodyBytes }));
    await scope.register(async (s) => repositoryIndexRoutes(s as App, { repository, buffered, maxBodyBytes }));
    await scope.register(async (s) => repositoryControlRoutes(s as App, { repository, maxBodyBytes }, guard));
  }

  async function admin(scope: App): Promise<void> {
    bearerToken(scope, guard);
    jsonBodies(scope);
    jobRoutes(scope, { queue, known: parts.known });
    jobEventRoutes(scope, { queue, heartbeatMs });
    adminModelRoutes(scope, { service, store });
    importRoutes(scope, { importer });
    datasetRoutes(scope, { datasets });
  }
}
