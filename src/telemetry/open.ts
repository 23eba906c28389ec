import { type JobObserver, NO_OBSERVER } from '../jobs/observer.js';
import { readTelemetrySettings } from './environment.js';
import type { Log } from './export-watch.js';
import type { MetricSource } from './metric-producer.js';
import type { Sdk } from './sdk.js';
import type { Tracer } from './tracer.js';
import { trainingSpans } from './training-spans.js';

export interface Telemetry {
  /** Null where nothing is traced. */
  tracer: Tracer | null;
  /** For the job queue. */
  jobs: JobObserver;
  /** Pushes the metrics beside `GET /metrics`, where that is asked for. */
  exportMetrics(source: MetricSource): void;
  /** Sends what is left, within {@link FLUSH_MS}; never rejects. */
  close(): Promise<void>;
}

export interface TelemetryOptions {
  logger: Log;
  /** Of this project. */
  version: string;
  env?: Record<string, string | undefined>;
  /** Loads the SDK. */
  load?: () => Promise<typeof import('./sdk.js')>;
}

/** Milliseconds that the last spans have to leave; a collector that is away holds up no stop. */
const FLUSH_MS = 3000;

const OFF: Telemetry = {
  tracer: null,
  jobs: NO_OBSERVER,
  exportMetrics: () => undefined,
  close: async () => undefined,
};

/** What the environment asks for. Nothing of OpenTelemetry is loaded where it asks for nothing; no value of it throws. */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { logger, version, env = process.env, load = () => import('./sdk.js') } = options;
  const settings = readTelemetrySettings(env);
  for (const problem of settings.problems) logger.warn({}, `OpenTelemetry: ${problem}`);
  if (settings.traces === null && settings.metrics === null) return OFF;
  try {
    const sdk = await (await load()).createSdk(settings, version, logger);
    return { ...sdk, jobs: sdk.tracer ? trainingSpans(sdk.tracer) : NO_OBSERVER, close: () => close(sdk, logger) };
  } catch (error) {
    logger.warn({ err: error }, `OpenTelemetry is off: ${explain(error as NodeJS.ErrnoException)}`);
    return OFF;
  }
}

async function close(sdk: Sdk, logger: Log): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(true), FLUSH_MS);
  });
  const isLate = await Promise.race([sdk.shutdown().then(() => false), late]);
  clearTimeout(timer);
  if (isLate) logger.warn({ flush_ms: FLUSH_MS }, 'the last spans or metrics could not be sent in time');
}

function explain({ code, message }: NodeJS.ErrnoException): string {
  if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') return message;
  return 'its packages are not installed; node scripts/add-telemetry.mjs && npm install --omit=dev installs them';
}
