import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Readiness } from '../http/plugins/readiness.js';
import type { PredictionService } from '../serving/request.js';
import { say } from './messages.js';

/** Milliseconds between two tries, at most. */
const LONGEST_RETRY_MS = 10_000;

/** Tries until the default variant has answered; a model may yet be trained or put in place. */
export async function warmUp(service: PredictionService, readiness: Readiness, logger: Logger): Promise<boolean> {
  for (let wait = 500; readiness.state !== 'draining'; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
    try {
      await service.warmUp();
      readiness.ready();
      return readiness.state === 'ready';
    } catch (error) {
      if (readiness.state !== 'failed') say(`bitdial is not ready yet: ${(error as Error).message}`);
      readiness.failed((error as Error).message);
      logger.warn({ err: error }, 'the warm-up failed and is tried again');
    }
    await sleep(wait, undefined, { ref: false });
  }
  return false;
}
