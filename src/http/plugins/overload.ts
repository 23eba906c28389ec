/** For routes that predict: early refusal while the service is full, and an end to work that nobody waits for. */
import type { FastifyReply, onRequestAsyncHookHandler } from 'fastify';
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
export function abandoned(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  const { raw } = reply;
  if (raw.destroyed) controller.abort();
  else {
    raw.once('close', () => {
      if (!raw.writableFinished) controller.abort();
    });
  }
  return controller.signal;
}
