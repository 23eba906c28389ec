/** Starts the service: settings, parts, app; warms up; drains when it is told to stop. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Config, PROJECT_ROOT, readConfig } from './config.js';
import { createEngine, type EngineChoice } from './engine/select.js';
import { Statistics, tellAll } from './http/oip/statistics.js';
import { createLogger } from './http/plugins/logging.js';
import { Metrics } from './http/plugins/metrics.js';
import { Readiness } from './http/plugins/readiness.js';
import { Importer } from './importing/importer.js';
import { EmbeddedQueue } from './jobs/embedded.js';
import type { Job } from './jobs/job.js';
import { ModelStore } from './model/store.js';
import { readEnergyTable } from './quantize/energy.js';
import type { PredictionService } from './serving/request.js';
import { createPredictionService } from './serving/service.js';
import { ARCHITECTURES } from './training/architectures/table.js';
import { DatasetStore } from './training/datasets/store.js';

/** Milliseconds that the parts get to close once the requests are done. */
const CLOSE_MS = 10_000;
/** Milliseconds between two tries to warm up, at most. */
const LONGEST_RETRY_MS = 10_000;

try {
  await start(readSettings());
} catch (error) {
  say(`bitdial cannot start: ${explain(error as NodeJS.ErrnoException)}`);
  process.exit(1);
}

async function start(config: Config): Promise<void> {
  const logger = createLogger(config.logLevel);
  const energyTable = readEnergyTable(config.energyTable || undefined);
  const readiness = new Readiness();
  const metrics = new Metrics();
  const store = new ModelStore({ modelsDir: config.modelsDir, dataDir: config.dataDir, logger });
  const { engine: kind, engineThreads: threads } = config;
  const engine = await createEngine({ engine: kind as EngineChoice['engine'], threads, logger });
  const statistics = new Statistics();
  const observer = tellAll(metrics.observer, statistics.observer);
  const service = createPredictionService({ config, store, engine, energyTable, observer, logger });
  const warm = warmUp(service, readiness, logger);
  const { modelsDir, dataDir, maxJobs } = config;
  // the engine's threads warm up while this one reads Fastify and the schemas
  const { buildApp } = await import('./app.js');
  const { maxImagePixels, maxDatasetBytes, trainingThreads } = config;
  const training = {
    energyTable: config.energyTable || undefined,
    threads: trainingThreads,
    maxImagePixels,
    maxDatasetBytes,
  };
  const queue = await EmbeddedQueue.open({ modelsDir, dataDir, store, maxJobs, logger, training });
  const datasets = new DatasetStore({
    dataDir,
    maxBytes: maxDatasetBytes,
    maxFiles: config.maxDatasetFiles,
    maxImagePixels,
    usedBy: async (name) => jobUsing(await queue.list(), name),
  });

  const importer = new Importer({
    modelsDir,
    dataDir,
    store,
    energyTable,
    maxImagePixels,
    maxModelBytes: config.maxModelBytes,
  });

  const adminToken = config.adminToken || randomBytes(24).toString('base64url');
  const known = async () => ({
    models: (await store.models()).map(({ name }) => name),
    architectures: Object.keys(ARCHITECTURES),
    datasets: await datasets.names(),
  });
  const version = projectVersion();
  const parts = {
    config,
    service,
    store,
    queue,
    datasets,
    importer,
    adminToken,
    known,
    metrics,
    statistics,
    readiness,
    logger,
    version,
  };
  const app = await buildApp({ ...parts, engineName: engine.name });

  onStop(config.drainMs, readiness, logger, {
    stopListening: () => app.close(),
    cutConnections: () => app.server.closeAllConnections(),
    closeParts: async () => {
      importer.close();
      await queue.close();
      await service.close();
      await engine.close();
    },
  });

  const url = await app.listen({ port: config.port, host: config.host });
  if (!config.adminToken) say(`admin token of this start: ${adminToken}  (ADMIN_TOKEN sets a lasting one)`);
  if (await warm) say(`bitdial is ready on ${url}  (${config.defaultModel}; documentation on ${url}/docs)`);
}

/** Id of a job that waits or runs with the data set. */
function jobUsing(jobs: Job[], dataset: string): string | null {
  const active = jobs.find(({ state, request }) => {
    return (state === 'queued' || state === 'running') && request.dataset === dataset;
  });
  return active?.id ?? null;
}

/** Tries until the default variant has answered; a model may yet be trained or put in place. */
async function warmUp(service: PredictionService, readiness: Readiness, logger: Logger): Promise<boolean> {
  for (let wait = 500; readiness.state !== 'draining'; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
    try {
      await service.warmUp();
      readiness.ready();
      return readiness.state === 'ready';
    } catch (error) {
      if (readiness.state !== 'failed') say(`bitdial is not ready yet: ${(error as Error).message}`);
      readiness.failed((error as Error).message);
      logger.warn({ err: error }, 'the warm-up failed and is tried again');
    }
    await sleep(wait, undefined, { ref: false });
  }
  return false;
}

interface Stoppable {
  /** Resolves when the last request in flight has been answered. */
  stopListening(): Promise<void>;
  cutConnections(): void;
  closeParts(): Promise<void>;
}

/** SIGTERM and SIGINT: not ready, no new connections, requests in flight to their end, parts closed, exit 0. */
function onStop(drainMs: number, readiness: Readiness, logger: Logger, parts: Stoppable): void {
  const stop = async (signal: 'SIGTERM' | 'SIGINT') => {
    if (readiness.state === 'draining') process.exit(128 + constants.signals[signal]);
    readiness.draining();
    logger.info({ signal }, 'draining');
    const late = setTimeout(() => {
      logger.warn({ drain_ms: drainMs }, 'requests were still in flight at the end of the drain and are cut');
      parts.cutConnections();
    }, drainMs);
    const stuck = setTimeout(() => {
      logger.error('the parts do not close');
      process.exit(1);
    }, drainMs + CLOSE_MS);
    try {
      await parts.stopListening();
      clearTimeout(late);
      await parts.closeParts();
      clearTimeout(stuck);
      logger.info('stopped');
      process.exit(0);
    } catch (error) {
      logger.error({ err: error }, 'the drain failed');
      process.exit(1);
    }
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
}

function readSettings(): Config {
  const config = readConfig();
  if (/\s/.test(config.adminToken)) throw new Error('configuration:\n  ADMIN_TOKEN: expected no spaces, got some');
  return config;
}

function projectVersion(): string {
  return (JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { version: string }).version;
}

/** For people, so not a log line; on stderr, so that stdout holds log lines only. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function explain(error: NodeJS.ErrnoException & { address?: string; port?: number }): string {
  const { code, address, port, path, message } = error;
  if (code === 'EADDRINUSE')
    return `port ${port} of ${address} is in use; set PORT to another one, or to 0 for a free one`;
  if (code === 'EADDRNOTAVAIL') return `this machine has no address ${address}; set HOST to one that it has`;
  if (code === 'EACCES' && port) return `port ${port} needs more rights than this process has; set PORT to another one`;
  if ((code === 'EACCES' || code === 'EROFS') && path)
    return `${path} cannot be written; set DATA_DIR to a folder that can`;
  return message;
}
