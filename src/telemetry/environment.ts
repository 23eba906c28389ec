/** OpenTelemetry's environment variables, as far as this service has to understand them; the SDK reads the others. */

export const PROTOCOLS = ['http/protobuf', 'http/json'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface TelemetrySettings {
  /** How spans leave; null: nothing is traced. */
  traces: { otlp: Protocol | null; console: boolean } | null;
  /** How metrics are pushed, beside `GET /metrics`; null: not at all. */
  metrics: { otlp: Protocol; intervalMs: number } | null;
  /** Whether a request's `traceparent` is continued. */
  tracecontext: boolean;
  /** What is wrong, in words for the operator. */
  problems: string[];
  /** Variables whose value the SDK must not see. */
  ignored: string[];
}

type Environment = Record<string, string | undefined>;

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
];
const DEFAULT_INTERVAL_MS = 60_000;
/** Variables that hold a whole number, 1 or more; the SDK reads them. */
const POSITIVE = [
  'OTEL_BSP_SCHEDULE_DELAY',
  'OTEL_BSP_EXPORT_TIMEOUT',
  'OTEL_BSP_MAX_QUEUE_SIZE',
  'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
  'OTEL_EXPORTER_OTLP_TIMEOUT',
  'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT',
  'OTEL_EXPORTER_OTLP_METRICS_TIMEOUT',
  'OTEL_METRIC_EXPORT_INTERVAL',
];

/**
 * Off unless a variable asks for it: an endpoint, or an exporter other than `none`. Wrong values never stop the service:
 * what they would have changed stays at its default, and where that cannot be meant (an endpoint, a protocol) the signal is off.
 */
export function readTelemetrySettings(env: Environment): TelemetrySettings {
  const reader = new Reader(env);
  const { problems, ignored } = reader;
  const off = { traces: null, metrics: null, tracecontext: true, problems, ignored };
  const disabled = reader.text('OTEL_SDK_DISABLED')?.toLowerCase() ?? 'false';
  if (disabled === 'true') return off;
  if (!reader.asked('TRACES') && !reader.asked('METRICS')) return off;
  if (disabled !== 'false') reader.wrong('OTEL_SDK_DISABLED', 'true or false');
  reader.checkTuning();
  return {
    traces: reader.traces(),
    metrics: reader.metrics(),
    tracecontext: reader.tracecontext(),
    problems,
    ignored,
  };
}

class Reader {
  readonly problems: string[] = [];
  readonly ignored: string[] = [];
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  /** An empty value counts as none, as the specification asks. */
  text(name: string): string | undefined {
    return this.#env[name]?.trim() || undefined;
  }

  wrong(name: string, expected: string, then = 'it is ignored'): void {
    this.problems.push(`${name}: expected ${expected}, got ${JSON.stringify(this.text(name))}; ${then}`);
    this.ignored.push(name);
  }

  asked(signal: 'TRACES' | 'METRICS'): boolean {
    const names = ['OTEL_EXPORTER_OTLP_ENDPOINT', `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, `OTEL_${signal}_EXPORTER`];
    return names.some((name) => this.text(name) !== undefined);
  }

  traces(): TelemetrySettings['traces'] {
    if (!this.asked('TRACES')) return null;
    const exporters = this.#exporters('TRACES', ['otlp', 'console', 'none']);
    const otlp = exporters.includes('otlp') ? this.#protocol('TRACES') : null;
    const console = exporters.includes('console');
    return otlp !== null || console ? { otlp, console } : null;
  }

  /** `prometheus` is what `GET /metrics` does anyway. */
  metrics(): TelemetrySettings['metrics'] {
    if (!this.asked('METRICS')) return null;
    const otlp = this.#exporters('METRICS', ['otlp', 'prometheus', 'none']).includes('otlp')
      ? this.#protocol('METRICS')
      : null;
    if (otlp === null) return null;
    const interval = this.ignored.includes('OTEL_METRIC_EXPORT_INTERVAL') ? undefined : 'OTEL_METRIC_EXPORT_INTERVAL';
    return { otlp, intervalMs: Number((interval && this.text(interval)) ?? DEFAULT_INTERVAL_MS) };
  }

  tracecontext(): boolean {
    const name = 'OTEL_PROPAGATORS';
    const named = list(this.text(name) ?? 'tracecontext,baggage');
    if (named.some((p) => !['tracecontext', 'baggage', 'none'].includes(p)))
      this.wrong(name, 'tracecontext, baggage or none', 'other propagators are ignored');
    return named.includes('tracecontext');
  }

  checkTuning(): void {
    for (const name of POSITIVE) {
      const text = this.text(name);
      if (text !== undefined && !/^[1-9]\d{0,8}$/.test(text)) this.wrong(name, 'a whole number, 1 or more');
    }
    const sampler = this.text('OTEL_TRACES_SAMPLER');
    if (sampler !== undefined && !SAMPLERS.includes(sampler)) {
      this.wrong('OTEL_TRACES_SAMPLER', `one of ${SAMPLERS.join(', ')}`, 'parentbased_always_on is used');
    } else if (sampler?.endsWith('ratio')) {
      const share = this.text('OTEL_TRACES_SAMPLER_ARG');
      if (share !== undefined && !(Number(share) >= 0 && Number(share) <= 1))
        this.wrong('OTEL_TRACES_SAMPLER_ARG', 'a number from 0 to 1', '1 is used');
    }
    const attributes = this.text('OTEL_RESOURCE_ATTRIBUTES');
    if (attributes !== undefined && !isPairs(attributes))
      this.wrong('OTEL_RESOURCE_ATTRIBUTES', 'key=value pairs with commas between them, percent-encoded');
  }

  #exporters(signal: string, known: string[]): string[] {
    const name = `OTEL_${signal}_EXPORTER`;
    const named = list(this.text(name) ?? 'otlp');
    if (named.some((exporter) => !known.includes(exporter)))
      this.wrong(name, `one of ${known.join(', ')}`, 'other exporters are ignored');
    return named.includes('none') ? [] : named;
  }

  /** Null where the endpoint or the protocol cannot be used. */
  #protocol(signal: string): Protocol | null {
    const off = `no ${signal.toLowerCase()} are sent`;
    const [own, all] = [`OTEL_EXPORTER_OTLP_${signal}`, 'OTEL_EXPORTER_OTLP'];
    const endpoint = [`${own}_ENDPOINT`, `${all}_ENDPOINT`].find((name) => this.text(name) !== undefined);
    const protocol = [`${own}_PROTOCOL`, `${all}_PROTOCOL`].find((name) => this.text(name) !== undefined);
    const said = protocol === undefined ? PROTOCOLS[0] : PROTOCOLS.find((p) => p === this.text(protocol));
    const reachable = endpoint === undefined || isHttp(this.text(endpoint) as string);
    if (!reachable) this.wrong(endpoint, 'a URL with http: or https:', off);
    if (said === undefined) this.wrong(protocol as string, PROTOCOLS.join(' or '), off);
    return reachable && said !== undefined ? said : null;
  }
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function isHttp(text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
}

function isPairs(text: string): boolean {
  return list(text).every((pair) => {
    const parts = pair.split('=');
    if (parts.length !== 2 || parts[0].trim() === '') return false;
    try {
      return parts.every((part) => decodeURIComponent(part.trim()).length <= 255);
    } catch {
      return false;
    }
  });
}
