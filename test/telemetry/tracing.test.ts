import assert from 'node:assert/strict';
import { test } from 'node:test';
import supertest from 'supertest';
import { assertProblem } from '../http/answers.js';
import { ServiceProcess } from '../http/service-process.js';
import { PIXELS } from '../http/tiny.js';
import { Collector, type OtlpSpan, plain } from './collector.js';

const TOKEN = 'a-token-of-this-test';
const body = { instances: [Array(PIXELS).fill(0.5), Array(PIXELS).fill(0)] };
const [SERVER, INTERNAL] = [2, 1];
const [UNSET, ERROR] = [0, 2];

const traceparent = (trace: string, flags = '01') => `00-${trace.repeat(32)}-${'b'.repeat(16)}-${flags}`;

function byTrace(spans: OtlpSpan[], digit: string): OtlpSpan[] {
  const found = spans.filter((s) => s.traceId === digit.repeat(32));
  return found.sort((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano)));
}

function logLines(service: ServiceProcess): Record<string, unknown>[] {
  return service.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test('a request is a span of its caller’s trace, its steps below it; what is left leaves at SIGTERM', async (t) => {
  const collector = await Collector.start(t);
  const service = await ServiceProcess.start(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,team=a%20b',
    // nothing leaves by itself: only the end of the process sends
    OTEL_BSP_SCHEDULE_DELAY: '600000',
  });
  const http = supertest(await service.ready());
  const predict = (trace: string, query = '?bits=3&activation_bits=8') =>
    http.post(`/predict${query}`).set('traceparent', traceparent(trace)).set('x-request-id', `request-${trace}`);
  await predict('1').send(body).expect(200);
  await predict('2').send(body).expect(200);
  const problem = assertProblem(await predict('3').send({ instances: [[1]] }), 'wrong_shape');
  assert.equal(problem.trace_id, '3'.repeat(32));
  assertProblem(await http.get('/models/%zz').set('traceparent', traceparent('4')), 'bad_request');
  await http.post('/predict').set('traceparent', traceparent('5', '00')).send(body).expect(200);
  await http.get('/health/live').set('traceparent', traceparent('6')).expect(200);
  await http.post('/predict').set('traceparent', 'not one').set('x-request-id', 'a root').send(body).expect(200);
  const v1 = http.post('/v1/models/mnist-lenet:predict?bits=4').set('traceparent', traceparent('8'));
  await v1.send({ instances: [Array(PIXELS).fill(0.5)] }).expect(200);
  const tensor = { name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data: Array(PIXELS).fill(0.5) };
  const v2 = http.post('/v2/models/mnist-lenet/infer').set('traceparent', traceparent('9'));
  await v2.send({ inputs: [tensor] }).expect(200);
  assert.equal(collector.posts.length, 0);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);

  const { spans, resource } = collector;
  assert.equal(resource['service.name'], 'bitdial');
  assert.match(String(resource['service.version']), /^\d+\.\d+\.\d+$/);
  assert.equal(resource['deployment.environment.name'], 'test');
  assert.equal(resource.team, 'a b');

  const [server, ...steps] = byTrace(spans, '1');
  assert.deepEqual([server.name, server.kind, server.parentSpanId], ['POST /predict', SERVER, 'b'.repeat(16)]);
  assert.equal(server.status.code, UNSET);
  const attributes = plain(server.attributes);
  const expected = {
    'http.request.method': 'POST',
    'http.route': '/predict',
    'http.response.status_code': 200,
    'url.path': '/predict',
    'url.scheme': 'http',
    'bitdial.request_id': 'request-1',
    'bitdial.model': 'mnist-lenet',
    'bitdial.version': 1,
    'bitdial.bits': 3,
    'bitdial.activation_bits': 8,
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(attributes[key], value, key);
  assert.ok(!('url.query' in attributes) && !('error.type' in attributes));
  assert.deepEqual(
    steps.map((s) => s.name),
    ['receive body', 'read input', 'choose precision', 'build variant', 'queue', 'compute'],
  );
  const end = (s: OtlpSpan) => BigInt(s.endTimeUnixNano);
  for (const [i, step] of steps.entries()) {
    assert.deepEqual([step.parentSpanId, step.kind], [server.spanId, INTERNAL], step.name);
    assert.ok(BigInt(step.startTimeUnixNano) >= BigInt(server.startTimeUnixNano), step.name);
    assert.ok(end(step) <= end(server), `${step.name} ends before its request`);
    if (i > 0) assert.ok(BigInt(step.startTimeUnixNano) >= end(steps[i - 1]), `${step.name} follows`);
  }
  const ran = { model: 'mnist-lenet', version: 1, bits: 3, activation_bits: 8, batch: 2 };
  for (const step of steps.slice(3)) {
    const facts = plain(step.attributes);
    for (const [key, value] of Object.entries(ran)) assert.equal(facts[`bitdial.${key}`], value, `${step.name} ${key}`);
  }

  const hit = byTrace(spans, '2').map((s) => s.name);
  assert.ok(hit.includes('compute') && !hit.includes('build variant'), `nothing is built on a hit: ${hit}`);

  const [refused, ...before] = byTrace(spans, '3');
  assert.equal(refused.status.code, UNSET, 'a client’s mistake is no error of the server');
  assert.equal(plain(refused.attributes)['http.response.status_code'], 400);
  assert.equal(plain(refused.attributes)['bitdial.code'], 'wrong_shape');
  const reading = before.at(-1) as OtlpSpan;
  assert.deepEqual(
    [reading.name, reading.status.code, plain(reading.attributes)['error.type']],
    ['read input', ERROR, 'wrong_shape'],
  );

  for (const [digit, route] of [
    ['8', '/v1/models/:model:predict'],
    ['9', '/v2/models/:model/infer'],
  ]) {
    const [spoken, ...parts] = byTrace(spans, digit);
    assert.deepEqual([spoken.name, plain(spoken.attributes)['http.route']], [`POST ${route}`, route]);
    assert.equal(parts.at(-1)?.name, 'compute');
  }

  const [unreadable] = byTrace(spans, '4');
  assert.deepEqual([unreadable.name, plain(unreadable.attributes)['http.response.status_code']], ['GET', 400]);
  assert.deepEqual(byTrace(spans, '5'), [], 'the caller does not sample it');
  assert.deepEqual(byTrace(spans, '6'), [], 'probes are not traced');
  const root = spans.find((s) => plain(s.attributes)['bitdial.request_id'] !== undefined && !s.parentSpanId);
  assert.equal(root?.name, 'POST /predict', 'a header that is not one begins no trace of that name');

  const lines = logLines(service);
  const line = (request: string) => lines.find((l) => l.msg === 'request' && l.request_id === request) ?? {};
  assert.deepEqual([line('request-1').trace_id, line('request-1').span_id], ['1'.repeat(32), server.spanId]);
  assert.deepEqual([line('request-3').trace_id, line('request-3').span_id], ['3'.repeat(32), refused.spanId]);
});

test('a training is a trace of its own, linked to the request that asked for it', async (t) => {
  const collector = await Collector.start(t);
  const service = await ServiceProcess.start(t, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    ADMIN_TOKEN: TOKEN,
  });
  const http = supertest(await service.ready());
  const authorization = `Bearer ${TOKEN}`;
  // a net and a data set that do not go together: it begins, and fails
  const { body: accepted } = await http
    .post('/admin/train')
    .set({ authorization, traceparent: traceparent('a'), 'x-request-id': 'trains' })
    .send({ model: 'mnist-lenet', dataset: 'mnist', from: 'current', epochs: 1, limit: 64, publish: false })
    .expect(202);
  const isTraining = (s: OtlpSpan) => s.name === 'training';
  await collector.until(() => collector.spans.some(isTraining));
  const { body: job } = await http.get(`/admin/jobs/${accepted.job.id}`).set({ authorization }).expect(200);
  assert.equal(job.job.state, 'failed');
  const { spans } = collector;
  const training = spans.find(isTraining) as OtlpSpan;
  const [asked] = byTrace(spans, 'a');
  assert.notEqual(training.traceId, asked.traceId);
  assert.deepEqual(
    training.links.map(({ traceId, spanId }) => [traceId, spanId]),
    [[asked.traceId, asked.spanId]],
  );
  assert.deepEqual(job.job.origin, { request_id: 'trains', traceparent: `00-${'a'.repeat(32)}-${asked.spanId}-01` });
  const ofJob = logLines(service).filter((l) => l.job === accepted.job.id);
  assert.ok(ofJob.some((l) => l.msg === 'a training job begins'));
  for (const l of ofJob) assert.deepEqual([l.request_id, l.trace_id], ['trains', 'a'.repeat(32)], String(l.msg));
  const attributes = plain(training.attributes);
  assert.equal(attributes['bitdial.job_id'], accepted.job.id);
  assert.equal(attributes['bitdial.dataset'], 'mnist');
  assert.equal(attributes['bitdial.state'], 'failed');
  assert.deepEqual([training.status.code, attributes['error.type']], [ERROR, job.job.error.code]);
  const phases = spans.filter((s) => s.parentSpanId === training.spanId);
  assert.equal(phases[0].name, 'starting');
});
