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

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
type Signal = (typeof SIGNALS)[number];

const leave = (signal: Signal) => process.exit(128 + constants.signals[signal]);

/**
 * As long as there is nothing to drain, a stop is an exit. Without a handler it would be one, too, but not for the first
 * process of a container: to that one the kernel gives no signal that nobody handles.
 */
export function exitOnStop(): void {
  for (const signal of SIGNALS) process.on(signal, leave);
}

/** SIGTERM and SIGINT: not ready, no new connections, requests in flight to their end, parts closed, exit 0. */
export function onStop(drainMs: number, readiness: Readiness, logger: Logger, parts: Stoppable): void {
  const stop = async (signal: Signal) => {
    if (readiness.state === 'draining') leave(signal);
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
  for (const signal of SIGNALS) process.off(signal, leave).on(signal, () => void stop(signal));
}
