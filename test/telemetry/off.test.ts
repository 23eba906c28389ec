import assert from 'node:assert/strict';
import { test } from 'node:test';
import supertest from 'supertest';
import { openTelemetry } from '../../src/telemetry/open.js';
import { ServiceProcess } from '../http/service-process.js';
import { PIXELS } from '../http/tiny.js';

const NODE_OPTIONS = `--import=${new URL('./loaded-modules.js', import.meta.url)}`;
const body = { instances: [Array(PIXELS).fill(0.5)] };

async function loadedBy(service: ServiceProcess): Promise<string[]> {
  await supertest(await service.ready())
    .post('/predict')
    .send(body)
    .expect(200);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  const [, names] = /^loaded: (.*)$/m.exec(service.stderr) ?? [];
  return names.split(' ');
}

/** Keeps what is said. */
function log() {
  const lines: string[] = [];
  const say = (_fields: object, message: string) => void lines.push(message);
  return { lines, info: say, warn: say, debug: say };
}

test('without a variable nothing of OpenTelemetry is loaded', async (t) => {
  const off = await ServiceProcess.start(t, { NODE_OPTIONS, OTEL_SERVICE_NAME: 'named' });
  // the interfaces without an implementation, which prom-client asks for exemplars
  assert.deepEqual(await loadedBy(off), ['api']);
});

test('with one it is; on the console a span is a log line', async (t) => {
  const on = await ServiceProcess.start(t, { NODE_OPTIONS, OTEL_TRACES_EXPORTER: 'console' });
  assert.ok((await loadedBy(on)).includes('sdk-trace-base'));
  const lines = on.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const spans = lines.filter((l) => l.msg === 'span');
  const [server] = spans.filter((l) => l.name === 'POST /predict');
  assert.equal(server.attributes['http.response.status_code'], 200);
  const compute = spans.find((l) => l.name === 'compute');
  assert.deepEqual([compute.trace_id, compute.parent_id], [server.trace_id, server.span_id]);
});

test('packages that are not there, or that throw, are told of and leave it off', async () => {
  const cases: [Error, RegExp][] = [
    [
      Object.assign(new Error('x'), { code: 'ERR_MODULE_NOT_FOUND' }),
      /off: .*not installed; node scripts\/add-telemetry/,
    ],
    [new Error('something else'), /OpenTelemetry is off: something else/],
  ];
  for (const [error, words] of cases) {
    const logger = log();
    const env = { OTEL_TRACES_EXPORTER: 'otlp' };
    const telemetry = await openTelemetry({ logger, version: '1.0.0', env, load: () => Promise.reject(error) });
    assert.equal(telemetry.tracer, null);
    await telemetry.close();
    assert.equal(logger.lines.length, 1);
    assert.match(logger.lines[0], words);
  }
});
