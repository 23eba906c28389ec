import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerClientError } from './problem.js';

export interface Deadlines {
  /** Milliseconds for a whole body. */
  bodyMs: number;
  /** Milliseconds within which something of an upload has to arrive: all of it may take as long as it is large. */
  idleMs: number;
}

export const DEADLINES: Deadlines = { bodyMs: 120_000, idleMs: 60_000 };

/**
 * A body that does not arrive is answered 408 and its connection closed; Node's own timeout knows no routes. What was
 * answered before, without its body, is only closed.
 */
export function watchBody(request: FastifyRequest, reply: FastifyReply, { bodyMs, idleMs }: Deadlines): void {
  const { raw } = request;
  const { 'content-length': length = '0', 'transfer-encoding': coding } = raw.headers;
  if (raw.complete || (length === '0' && coding === undefined)) return;
  const { socket } = raw;
  let seen = socket.bytesRead;
  const timer = request.routeOptions?.config?.upload
    ? setInterval(() => {
        if (socket.bytesRead === seen) late(request, reply);
        seen = socket.bytesRead;
      }, idleMs)
    : setTimeout(() => late(request, reply), bodyMs);
  timer.unref();
  for (const end of ['end', 'close']) raw.once(end, () => clearTimeout(timer));
}

function late(request: FastifyRequest, reply: FastifyReply): void {
  const { socket } = request.raw;
  if (reply.raw.headersSent) {
    socket.destroy();
    return;
  }
  if (request.facts) request.facts.code = 'request_timeout';
  answerClientError(Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket, request);
  socket.destroySoon();
}
