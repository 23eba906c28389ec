import assert from 'node:assert/strict';
import { test } from 'node:test';
import supertest from 'supertest';
import { METRICS } from '../../src/http/plugins/metrics-table.js';
import { ServiceProcess } from '../http/service-process.js';
import { PIXELS } from '../http/tiny.js';
import { Collector, plain } from './collector.js';

const body = { instances: [Array(PIXELS).fill(0.5), Array(PIXELS).fill(0)] };

interface Point {
  attributes: Parameters<typeof plain>[0];
  asDouble: number;
  count: number | string;
  bucketCounts: (number | string)[];
  explicitBounds: number[];
}

test('the metrics of GET /metrics are pushed under their own names', async (t) => {
  const collector = await Collector.start(t);
  const service = await ServiceProcess.start(t, {
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.url}/v1/metrics`,
    OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/json',
    OTEL_METRIC_EXPORT_INTERVAL: '600000',
  });
  const http = supertest(await service.ready());
  for (let i = 0; i < 3; i++) await http.post('/predict?bits=4').send(body).expect(200);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  const { metrics } = collector;
  const named = (name: string) => metrics.find((m) => m.name === name) ?? assert.fail(name);
  for (const name of Object.keys(METRICS)) named(name);
  const points = (name: string, kind: string) => (named(name)[kind] as { dataPoints: Point[] }).dataPoints;
  const [instances] = points('bitdial_instances_total', 'sum');
  assert.equal(instances.asDouble, 6);
  assert.deepEqual(plain(instances.attributes), { model: 'mnist-lenet', bits: '4', activation_bits: '4' });
  assert.equal((named('bitdial_instances_total').sum as { isMonotonic: boolean }).isMonotonic, true);
  const [seconds] = points('bitdial_compute_seconds', 'histogram');
  assert.equal(Number(seconds.count), 3);
  assert.equal(seconds.bucketCounts.length, seconds.explicitBounds.length + 1);
  assert.equal(
    seconds.bucketCounts.reduce((sum: number, n) => sum + Number(n), 0),
    3,
  );
  assert.equal(points('bitdial_ready', 'gauge')[0].asDouble, 0, 'it drains');
  assert.ok(points('process_resident_memory_bytes', 'gauge')[0].asDouble > 0);
});

test('the default protocol is protobuf; headers and paths are the SDK’s', async (t) => {
  const collector = await Collector.start(t);
  const service = await ServiceProcess.start(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-team=vision',
  });
  const http = supertest(await service.ready());
  await http.post('/predict?bits=4').send(body).expect(200);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  assert.deepEqual([...new Set(collector.posts.map((p) => p.path))].sort(), ['/v1/metrics', '/v1/traces']);
  for (const { type, headers } of collector.posts)
    assert.deepEqual([type, headers['x-team']], ['application/x-protobuf', 'vision']);
  const [traces] = collector.posts.filter((p) => p.path === '/v1/traces');
  assert.ok(traces.bytes.includes('POST /predict'));
});
