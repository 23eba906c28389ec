/** For routes that predict: early refusal while the service is full, and an end to work that nobody waits for. */
import type { FastifyReply, onRequestAsyncHookHandler } from 'fastify';
import type { Leaving } from '../../serving/patience.js';
import type { PredictionService } from '../../serving/request.js';

/**
 * A route's `onRequest` hook: where the service would turn a request away it is answered now, before anything of its body is
 * read or parsed.
 */
export function admission(service: Pick<PredictionService, 'admits'>): onRequestAsyncHookHandler {
  return async () => service.admits();
}

/**
 * Aborted when the connection goes before the answer is sent: hand it to the service with the request.
 *
 * The response tells, not the request, whose `close` comes as soon as its body has been read.
 */
export function abandoned(reply: FastifyReply): Leaving {
  const { raw } = reply;
  const client = new Client();
  if (raw.destroyed) client.leave();
  else {
    raw.once('close', () => {
      if (!raw.writableFinished) client.leave();
    });
  }
  return client;
}

/** Of an AbortSignal what a request needs: one for each would leave a piece in the old generation, thousands of times a second. */
class Client implements Leaving {
  aborted = false;
  #listeners: (() => void)[] = [];

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter((other) => other !== listener);
  }

  leave(): void {
    if (this.aborted) return;
    this.aborted = true;
    for (const listener of [...this.#listeners]) listener();
  }
}
