import { type ExportResult, ExportResultCode } from '@opentelemetry/core';

/** What is logged to; a pino logger is one. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

interface Exporter<T> {
  export(items: T, done: (result: ExportResult) => void): void;
  forceFlush?(): Promise<void>;
  shutdown(): Promise<void>;
}

/**
 * An exporter that says once when its collector goes away and once when it is back, instead of at every batch. A failed
 * batch is lost: the exporter has tried again by itself, for as long as OTEL_EXPORTER_OTLP_TIMEOUT.
 */
export function watched<T, E extends Exporter<T>>(exporter: E, what: string, logger: Log): E {
  let away = false;
  const send = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    send(items, ({ code, error }) => {
      if (code === ExportResultCode.SUCCESS) {
        if (away) logger.info({}, `${what} leave again`);
        away = false;
      } else if (away) {
        logger.debug({ err: error }, `${what} still cannot be sent`);
      } else {
        away = true;
        logger.warn({ err: error }, `${what} cannot be sent and are dropped; said once until they can`);
      }
      // told as a success, or the SDK would log every failure on its own
      done({ code: ExportResultCode.SUCCESS });
    });
  return exporter;
}
