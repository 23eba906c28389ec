import { constants } from 'node:os';
import type { Logger } from 'pino';
import type { Readiness } from '../http/plugins/readiness.js';

/** Milliseconds that the parts get to close once the requests are done. */
const CLOSE_MS = 10_000;

export interface Stoppable {
  /** Resolves when the last request in flight has been answered. */
  stopListening(): Promise<void>;
  cutConnections(): void;
  closeParts(): Promise<void>;
}

/** SIGTERM and SIGINT: not ready, no new connections, requests in flight to their end, parts closed, exit 0. */
export function onStop(drainMs: number, readiness: Readiness, logger: Logger, parts: Stoppable): void {
  const stop = async (signal: 'SIGTERM' | 'SIGINT') => {
    if (readiness.state === 'draining') process.exit(128 + constants.signals[signal]);
    readiness.draining();
    logger.info({ signal }, 'draining');
    const late = setTimeout(() => {
      logger.warn({ drain_ms: drainMs }, 'requests were still in flight at the end of the drain and are cut');
      parts.cutConnections();
    }, drainMs);
    const stuck = setTimeout(() => {
      logger.error('the parts do not close');
      process.exit(1);
    }, drainMs + CLOSE_MS);
    try {
      await parts.stopListening();
      clearTimeout(late);
      await parts.closeParts();
      clearTimeout(stuck);
      logger.info('stopped');
      process.exit(0);
    } catch (error) {
      logger.error({ err: error }, 'the drain failed');
      process.exit(1);
    }
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
}
