/** OpenTelemetry's SDK, put together as the environment says. Loaded only where it is asked for. */
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { diagLogLevelFromString, ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  defaultResource,
  detectResources,
  envDetector,
  hostDetector,
  type Resource,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  SimpleSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base';
import type { Protocol, TelemetrySettings } from './environment.js';
import { type Log, watched } from './export-watch.js';
import { type MetricSource, PromMetricProducer } from './metric-producer.js';
import { SdkTracer } from './sdk-tracer.js';
import type { Tracer } from './tracer.js';

export interface Sdk {
  tracer: Tracer | null;
  /** Pushes the metrics from now on; does nothing where they are not asked for. */
  exportMetrics(source: MetricSource): void;
  /** Sends what is left. */
  shutdown(): Promise<void>;
}

export async function createSdk(settings: TelemetrySettings, version: string, logger: Log): Promise<Sdk> {
  // what the SDK would misread is not there for it
  for (const name of settings.ignored) delete process.env[name];
  logDiagnostics(logger);
  const resource = describeService(version);
  const closers: (() => Promise<void>)[] = [];

  let tracer: Tracer | null = null;
  if (settings.traces) {
    const { otlp, console } = settings.traces;
    const spanProcessors = [];
    if (otlp) spanProcessors.push(new BatchSpanProcessor(watched(await spanExporter(otlp), 'spans', logger)));
    if (console) spanProcessors.push(new SimpleSpanProcessor(logExporter(logger)));
    const provider = new BasicTracerProvider({ resource, spanProcessors });
    closers.push(() => provider.shutdown());
    const propagator = settings.tracecontext ? new W3CTraceContextPropagator() : null;
    tracer = new SdkTracer(provider.getTracer('bitdial', version), propagator);
  }

  const { metrics } = settings;
  const exporter = metrics ? watched(await metricExporter(metrics.otlp), 'metrics', logger) : null;
  return {
    tracer,
    exportMetrics(source) {
      if (!metrics || !exporter) return;
      const reader = new PeriodicExportingMetricReader({
        exporter,
        exportIntervalMillis: metrics.intervalMs,
        metricProducers: [new PromMetricProducer(source)],
      });
      const provider = new MeterProvider({ resource, readers: [reader] });
      closers.push(() => provider.shutdown());
    },
    async shutdown() {
      await Promise.allSettled(closers.map((close) => close()));
    },
  };
}

/** OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what is known here. */
function describeService(version: string): Resource {
  const own = { 'service.name': 'bitdial', 'service.version': version };
  const process_ = { 'process.pid': process.pid, 'process.runtime.name': 'nodejs' };
  const detectors = [serviceInstanceIdDetector, hostDetector, envDetector];
  return defaultResource()
    .merge(resourceFromAttributes({ ...own, ...process_, 'process.runtime.version': process.versions.node }))
    .merge(detectResources({ detectors }));
}

async function spanExporter(protocol: Protocol): Promise<SpanExporter> {
  const { OTLPTraceExporter } = await (protocol === 'http/json'
    ? import('@opentelemetry/exporter-trace-otlp-http')
    : import('@opentelemetry/exporter-trace-otlp-proto'));
  return new OTLPTraceExporter();
}

async function metricExporter(protocol: Protocol) {
  const { OTLPMetricExporter } = await (protocol === 'http/json'
    ? import('@opentelemetry/exporter-metrics-otlp-http')
    : import('@opentelemetry/exporter-metrics-otlp-proto'));
  return new OTLPMetricExporter();
}

/** OTEL_TRACES_EXPORTER=console: a log line for each span, for stdout holds log lines only. */
function logExporter(logger: Log): SpanExporter {
  return {
    export(spans, done) {
      for (const span of spans) {
        const { name, duration, attributes, status, parentSpanContext } = span;
        const { traceId: trace_id, spanId: span_id } = span.spanContext();
        const ms = duration[0] * 1000 + duration[1] / 1e6;
        const parent_id = parentSpanContext?.spanId;
        logger.info({ name, trace_id, span_id, parent_id, ms, status: status.code, attributes }, 'span');
      }
      done({ code: ExportResultCode.SUCCESS });
    },
    async shutdown() {},
  };
}

/** What the SDK itself has to say, each kind of thing once; OTEL_LOG_LEVEL says how much. */
function logDiagnostics(logger: Log): void {
  const said = new Set<string>();
  const once = (level: 'warn' | 'info') => (text: string) => {
    const kind = text.replace(/\d+/g, '#').slice(0, 200);
    if (said.has(kind) || said.size >= 100) return;
    said.add(kind);
    logger[level]({}, `OpenTelemetry: ${text}`);
  };
  const debug = (text: string) => logger.debug({}, `OpenTelemetry: ${text}`);
  const level = diagLogLevelFromString(process.env.OTEL_LOG_LEVEL) ?? DiagLogLevel.WARN;
  const sink = { error: once('warn'), warn: once('warn'), info: once('info'), debug, verbose: debug };
  diag.setLogger(sink, { logLevel: level, suppressOverrideMessage: true });
}
