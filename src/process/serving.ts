import type { Config } from '../config.js';
import { createEngine, type EngineChoice } from '../engine/select.js';
import { Statistics, tellAll } from '../http/oip/statistics.js';
import { createLogger } from '../http/plugins/logging.js';
import { Metrics } from '../http/plugins/metrics.js';
import { Readiness } from '../http/plugins/readiness.js';
import { Importer } from '../importing/importer.js';
import { ModelStore } from '../model/store.js';
import { readEnergyTable } from '../quantize/energy.js';
import { createPredictionService } from '../serving/service.js';
import { openTelemetry } from '../telemetry/open.js';
import { ARCHITECTURES } from '../training/architectures/table.js';
import { DatasetStore } from '../training/datasets/store.js';
import { openAdminTokens } from './admin-tokens.js';
import { onStop } from './drain.js';
import { jobUsing, openJobs } from './job-queue.js';
import { say } from './messages.js';
import { projectVersion } from './version.js';
import { warmUp } from './warm-up.js';

/** A process that answers requests: opens the parts, listens, warms up. */
export async function startServing(config: Config): Promise<void> {
  const logger = createLogger(config.logLevel);
  const energyTable = readEnergyTable(config.energyTable || undefined);
  const readiness = new Readiness();
  const metrics = new Metrics();
  const version = projectVersion();
  const telemetry = await openTelemetry({ logger, version });
  const store = new ModelStore({ modelsDir: config.modelsDir, dataDir: config.dataDir, logger });
  const { engine: kind, engineThreads: threads } = config;
  const engine = await createEngine({ engine: kind as EngineChoice['engine'], threads, logger });
  const statistics = new Statistics();
  const observer = tellAll(metrics.observer, statistics.observer);
  const service = createPredictionService({ config, store, engine, energyTable, observer, logger });
  const warm = warmUp(service, readiness, logger);
  // the engine's threads warm up while this one reads Fastify and the schemas
  const { buildApp } = await import('../app.js');
  const { modelsDir, dataDir, maxImagePixels } = config;
  const { queue, lock } = await openJobs(config, store, logger, telemetry.jobs);
  const datasets = new DatasetStore({
    dataDir,
    maxBytes: config.maxDatasetBytes,
    maxFiles: config.maxDatasetFiles,
    maxImagePixels,
    usedBy: async (name) => jobUsing(await queue.list(), name),
    lock: lock && ((name) => lock(`dataset:${name}`)),
  });

  const importer = new Importer({
    modelsDir,
    dataDir,
    store,
    energyTable,
    maxImagePixels,
    maxModelBytes: config.maxModelBytes,
  });

  const { tokens: adminTokens, made } = await openAdminTokens(config, logger);
  const known = async () => ({
    models: (await store.models()).map(({ name }) => name),
    architectures: Object.keys(ARCHITECTURES),
    datasets: await datasets.names(),
  });
  const { tracer } = telemetry;
  const parts = {
    config,
    service,
    store,
    queue,
    datasets,
    importer,
    adminTokens,
    known,
    metrics,
    statistics,
    readiness,
    tracer,
    logger,
    version,
  };
  const app = await buildApp({ ...parts, engineName: engine.name });
  telemetry.exportMetrics(metrics);

  onStop(config.drainMs, readiness, logger, {
    stopListening: () => app.close(),
    cutConnections: () => app.server.closeAllConnections(),
    closeParts: async () => {
      importer.close();
      await queue.close();
      await service.close();
      await engine.close();
      await telemetry.close();
    },
  });

  const url = await app.listen({ port: config.port, host: config.host });
  if (made !== undefined) say(`admin token of this start: ${made}  (ADMIN_TOKEN sets a lasting one)`);
  if (made !== undefined && config.redisUrl) say('other replicas have other tokens: set ADMIN_TOKEN, the same for all');
  if (await warm) say(`bitdial is ready on ${url}  (${config.defaultModel}; documentation on ${url}/docs)`);
}
