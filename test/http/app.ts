import type { TestContext } from 'node:test';
import type { DestinationStream } from 'pino';
import supertest from 'supertest';
import { buildApp } from '../../src/app.js';
import { type Config, readConfig } from '../../src/config.js';
import { Statistics, tellAll } from '../../src/http/oip/statistics.js';
import type { Parts } from '../../src/http/parts.js';
import { createLogger } from '../../src/http/plugins/logging.js';
import { Metrics } from '../../src/http/plugins/metrics.js';
import { Readiness } from '../../src/http/plugins/readiness.js';
import { AdminTokens } from '../../src/http/plugins/tokens.js';
import type { App } from '../../src/http/types.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { createPredictionService } from '../../src/serving/service.js';
import { FakeDatasets, FakeImporter, FakeQueue, FakeService, FakeStore } from './fakes.js';
import { InlineEngine, tinySource } from './tiny.js';

export const TOKEN = 'test-token-0123456789';
export const AUTHORIZATION = `Bearer ${TOKEN}`;

export interface TestApp<S = FakeService> {
  app: App;
  service: S;
  store: FakeStore;
  queue: FakeQueue;
  readiness: Readiness;
  metrics: Metrics;
  http: ReturnType<typeof supertest>;
}

type Changes = Partial<Omit<Parts, 'config'>> & { config?: Partial<Config>; log?: DestinationStream };

export function testConfig(config: Partial<Config> = {}): Config {
  return { ...readConfig({}), defaultModel: 'tiny', port: 0, ...config };
}

/** An app over fakes; it closes with the test. */
export async function testApp(t: TestContext, changes: Changes = {}): Promise<TestApp> {
  const service = new FakeService();
  return { ...(await build(t, { service, ...changes })), service };
}

/** The same with the real prediction service, on the tiny net. */
export async function servingApp(t: TestContext, changes: Changes = {}): Promise<TestApp<Parts['service']>> {
  const config = testConfig(changes.config);
  const metrics = new Metrics();
  const statistics = new Statistics();
  const store = new FakeStore();
  const service = createPredictionService({
    config,
    store: { get: (model, which) => store.get(model, which), source: () => tinySource() },
    engine: new InlineEngine(),
    energyTable: HOROWITZ_45NM,
    observer: tellAll(metrics.observer, statistics.observer),
  });
  t.after(() => service.close());
  return { ...(await build(t, { ...changes, metrics, statistics, store, service })), service };
}

async function build(t: TestContext, changes: Changes & Pick<Parts, 'service'>): Promise<Omit<TestApp, 'service'>> {
  const { config, log, ...parts } = changes;
  const store = (changes.store as FakeStore | undefined) ?? new FakeStore();
  const queue = (changes.queue as FakeQueue | undefined) ?? new FakeQueue();
  const datasets = changes.datasets ?? new FakeDatasets();
  const importer = changes.importer ?? new FakeImporter();
  const readiness = changes.readiness ?? new Readiness();
  const metrics = changes.metrics ?? new Metrics();
  const app = await buildApp({
    engineName: 'inline',
    adminTokens: new AdminTokens({ tokens: [TOKEN] }),
    known: async () => ({ models: ['tiny'], architectures: ['lenet'], datasets: ['mnist'] }),
    logger: createLogger(log ? 'debug' : 'silent', log),
    version: '1.2.3',
    ...parts,
    config: testConfig(config),
    store,
    queue,
    datasets,
    importer,
    readiness,
    metrics,
  });
  t.after(() => app.close());
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { app, store, queue, readiness, metrics, http: supertest(app.server) };
}
