import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTelemetrySettings } from '../../src/telemetry/environment.js';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };

const read = (env: Record<string, string>) => {
  const { problems, ignored, ...settings } = readTelemetrySettings(env);
  return { settings, problems, ignored };
};
const protobuf = { traces: { otlp: 'http/protobuf', console: false }, tracecontext: true };
const OFF = { traces: null, metrics: null, tracecontext: true };
const BOTH = { ...protobuf, metrics: { otlp: 'http/protobuf', intervalMs: 60_000 } };

test('it is off unless a variable asks for it', () => {
  const nothing: Record<string, string>[] = [
    {},
    { OTEL_SERVICE_NAME: 'x', OTEL_RESOURCE_ATTRIBUTES: 'a=b', OTEL_TRACES_SAMPLER: 'always_on' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { ...ENDPOINT, OTEL_SDK_DISABLED: 'true' },
    { ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' },
    { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' },
    { OTEL_METRICS_EXPORTER: 'prometheus' },
  ];
  for (const env of nothing) {
    const { settings, problems } = read(env);
    assert.deepEqual([settings, problems], [OFF, []], JSON.stringify(env));
  }
});

test('what right values mean', () => {
  const cases: [Record<string, string>, unknown][] = [
    [ENDPOINT, BOTH],
    [{ ...ENDPOINT, OTEL_SDK_DISABLED: 'false' }, BOTH],
    [
      { ...ENDPOINT, OTEL_METRICS_EXPORTER: 'none' },
      { ...protobuf, metrics: null },
    ],
    [
      { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' },
      { ...BOTH, traces: null },
    ],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://a/v1/traces' }, { ...protobuf, metrics: null }],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, { ...protobuf, metrics: null }],
    [{ OTEL_TRACES_EXPORTER: 'console' }, { ...OFF, traces: { otlp: null, console: true } }],
    [{ OTEL_TRACES_EXPORTER: ' otlp , console ' }, { ...OFF, traces: { otlp: 'http/protobuf', console: true } }],
    [
      { ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/protobuf' },
      { ...BOTH, traces: { otlp: 'http/json', console: false } },
    ],
    [
      { OTEL_METRICS_EXPORTER: 'otlp', OTEL_METRIC_EXPORT_INTERVAL: '5000' },
      { ...OFF, metrics: { otlp: 'http/protobuf', intervalMs: 5000 } },
    ],
    [
      { ...ENDPOINT, OTEL_PROPAGATORS: 'none' },
      { ...BOTH, tracecontext: false },
    ],
    [{ ...ENDPOINT, OTEL_PROPAGATORS: 'baggage,tracecontext' }, BOTH],
    [{ ...ENDPOINT, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' }, BOTH],
    [{ ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: 'a=b,c=d%20e,' }, BOTH],
  ];
  for (const [env, expected] of cases) {
    const { settings, problems } = read(env);
    assert.deepEqual([settings, problems], [expected, []], JSON.stringify(env));
  }
});

test('wrong values are named, with what was expected and what becomes of it', () => {
  const cases: [Record<string, string>, RegExp[], unknown][] = [
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector' },
      [
        /^OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL.*got "collector"; no traces are sent$/,
        /OTEL_EXPORTER_OTLP_ENDPOINT.*no metrics/,
      ],
      OFF,
    ],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'ftp://x' }, [/TRACES_ENDPOINT: expected a URL with http: or https:/], OFF],
    [
      { ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      [
        /PROTOCOL: expected http\/protobuf or http\/json, got "grpc"; no traces are sent/,
        /"grpc"; no metrics are sent/,
      ],
      OFF,
    ],
    [
      { OTEL_TRACES_EXPORTER: 'zipkin' },
      [/OTEL_TRACES_EXPORTER: expected one of otlp, console, none, got "zipkin"/],
      OFF,
    ],
    [{ ...ENDPOINT, OTEL_SDK_DISABLED: 'maybe' }, [/OTEL_SDK_DISABLED: expected true or false, got "maybe"/], BOTH],
    [{ ...ENDPOINT, OTEL_PROPAGATORS: 'b3,tracecontext' }, [/OTEL_PROPAGATORS: expected tracecontext/], BOTH],
    [{ ...ENDPOINT, OTEL_TRACES_SAMPLER: 'sometimes' }, [/OTEL_TRACES_SAMPLER: .*parentbased_always_on is used/], BOTH],
    [
      { ...ENDPOINT, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '7' },
      [/OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, got "7"; 1 is used/],
      BOTH,
    ],
    [{ ...ENDPOINT, OTEL_BSP_MAX_QUEUE_SIZE: '-1' }, [/OTEL_BSP_MAX_QUEUE_SIZE: expected a whole number/], BOTH],
    [
      { ...ENDPOINT, OTEL_METRIC_EXPORT_INTERVAL: 'often' },
      [/OTEL_METRIC_EXPORT_INTERVAL: .*"often"; it is ignored/],
      BOTH,
    ],
    [{ ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: 'a=b=c' }, [/OTEL_RESOURCE_ATTRIBUTES: expected key=value/], BOTH],
    [{ ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: 'a=%zz' }, [/OTEL_RESOURCE_ATTRIBUTES/], BOTH],
  ];
  for (const [env, words, expected] of cases) {
    const { settings, problems, ignored } = read(env);
    assert.deepEqual(settings, expected, JSON.stringify(env));
    assert.equal(problems.length, words.length, problems.join('\n'));
    for (const [i, word] of words.entries()) assert.match(problems[i], word);
    for (const name of ignored) assert.ok(name in env, 'what the SDK must not see is what was wrong');
    assert.equal(ignored.length, words.length);
  }
});
