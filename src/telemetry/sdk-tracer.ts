import type { IncomingHttpHeaders } from 'node:http';
import {
  type Context,
  defaultTextMapGetter,
  type HrTime,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  type TextMapPropagator,
  TraceFlags,
  type Tracer as TracerOfSdk,
  trace,
} from '@opentelemetry/api';
import type { TraceContext } from './trace-context.js';
import { type Attributes, attributesOf, type Span, type Tracer } from './tracer.js';

/** The tracer over OpenTelemetry's. `propagator` reads what trace a request belongs to; null: each begins its own. */
export class SdkTracer implements Tracer {
  readonly #tracer: TracerOfSdk;
  readonly #propagator: TextMapPropagator | null;

  constructor(tracer: TracerOfSdk, propagator: TextMapPropagator | null) {
    this.#tracer = tracer;
    this.#propagator = propagator;
  }

  request(name: string, headers: IncomingHttpHeaders, attributes: Attributes): Span {
    const parent = this.#propagator?.extract(ROOT_CONTEXT, headers, defaultTextMapGetter) ?? ROOT_CONTEXT;
    const clock = new Clock();
    const startTime = clock.at(performance.now());
    const span = this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes, startTime }, parent);
    return new TracedSpan(this.#tracer, span, parent, clock);
  }

  root(name: string, attributes: Attributes, cause: TraceContext | null): Span {
    const clock = new Clock();
    const links = cause === null ? [] : [{ context: remote(cause) }];
    const options = { attributes: attributesOf(attributes), links, startTime: clock.at(performance.now()) };
    const span = this.#tracer.startSpan(name, { kind: SpanKind.INTERNAL, ...options }, ROOT_CONTEXT);
    return new TracedSpan(this.#tracer, span, ROOT_CONTEXT, clock);
  }
}

/** `performance.now()` as the time of day, by one anchor, so that the parts of a trace lie where they were. */
class Clock {
  readonly #origin = Date.now() - performance.now();

  at(ms: number): HrTime {
    const now = this.#origin + ms;
    const seconds = Math.floor(now / 1000);
    return [seconds, Math.round((now - seconds * 1000) * 1e6)];
  }
}

class TracedSpan implements Span {
  readonly context: TraceContext;
  readonly recording: boolean;
  readonly #tracer: TracerOfSdk;
  readonly #span: SdkSpan;
  readonly #within: Context;
  readonly #clock: Clock;

  constructor(tracer: TracerOfSdk, span: SdkSpan, parent: Context, clock: Clock) {
    this.#tracer = tracer;
    this.#span = span;
    this.#within = trace.setSpan(parent, span);
    this.#clock = clock;
    const { traceId, spanId, traceFlags } = span.spanContext();
    this.context = { traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 };
    this.recording = span.isRecording();
  }

  onStep(name: string, startMs: number, endMs: number, facts: Attributes, error?: unknown): void {
    const options = { attributes: attributesOf(facts), startTime: this.#clock.at(startMs) };
    const step = this.#tracer.startSpan(name, options, this.#within);
    if (error !== undefined) fail(step, errorType(error));
    step.end(this.#clock.at(endMs));
  }

  end(attributes: Attributes, error?: string): void {
    this.#span.setAttributes(attributes);
    if (error !== undefined) fail(this.#span, error);
    this.#span.end(this.#clock.at(performance.now()));
  }
}

function fail(span: SdkSpan, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** Short and of few values: never a message, which may hold anything. */
function errorType(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown';
}

function remote({ traceId, spanId, sampled }: TraceContext) {
  return { traceId, spanId, traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE, isRemote: true };
}
