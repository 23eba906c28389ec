import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { test } from 'node:test';
import supertest from 'supertest';
import { ServiceProcess } from '../http/service-process.js';
import { PIXELS } from '../http/tiny.js';
import { Collector } from './collector.js';

const body = { instances: [Array(PIXELS).fill(0.5)] };
const QUICK = { OTEL_BSP_SCHEDULE_DELAY: '20', OTEL_EXPORTER_OTLP_TIMEOUT: '200', OTEL_METRICS_EXPORTER: 'none' };

function messages(service: ServiceProcess): string[] {
  const lines = service.stdout.split('\n').filter((line) => line.endsWith('}'));
  return lines.map((line) => JSON.parse(line).msg).filter((msg) => /spans|OpenTelemetry/.test(msg));
}

/** Predicts until the log says it. */
async function predictUntil(service: ServiceProcess, url: string, words: RegExp): Promise<void> {
  do {
    await supertest(url).post('/predict').send(body).expect(200);
  } while (!messages(service).some((msg) => words.test(msg)));
}

test('a collector that nothing answers for costs one warning and no answer', async (t) => {
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, 'close');
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
  const service = await ServiceProcess.start(t, { ...QUICK, ...endpoint, OTEL_BSP_MAX_QUEUE_SIZE: '16' });
  const url = await service.ready();
  await predictUntil(service, url, /spans cannot be sent/);
  for (let i = 0; i < 50; i++) await supertest(url).post('/predict').send(body).expect(200);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  assert.equal(messages(service).filter((msg) => /cannot be sent and are dropped/.test(msg)).length, 1);
  // the queue is bounded, and says once that it was full, if it was
  assert.ok(messages(service).filter((msg) => /Dropped/.test(msg)).length <= 1);
});

test('a collector that refuses, and takes them again', async (t) => {
  const collector = await Collector.start(t);
  collector.status = 400;
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  const service = await ServiceProcess.start(t, { ...QUICK, ...endpoint });
  const url = await service.ready();
  await predictUntil(service, url, /spans cannot be sent/);
  collector.status = 200;
  await predictUntil(service, url, /spans leave again/);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  assert.deepEqual(messages(service), [
    'spans cannot be sent and are dropped; said once until they can',
    'spans leave again',
  ]);
});

test('wrong variables are words in the log; the service serves', async (t) => {
  const service = await ServiceProcess.start(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318',
    OTEL_TRACES_SAMPLER: 'often',
    OTEL_BSP_SCHEDULE_DELAY: 'soon',
  });
  const url = await service.ready();
  await supertest(url).post('/predict').send(body).expect(200);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  const said = messages(service).join('\n');
  assert.match(said, /OTEL_BSP_SCHEDULE_DELAY: expected a whole number, 1 or more, got "soon"/);
  assert.match(said, /OTEL_TRACES_SAMPLER: expected one of always_on/);
  assert.match(
    said,
    /OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL with http: or https:, got "collector:4318"; no traces/,
  );
});
