import type { FastifyRequest } from 'fastify';
import type { App } from '../types.js';
import { answerClientError } from './problem.js';

export interface Deadlines {
  /** Milliseconds for a whole body. */
  bodyMs: number;
  /** Milliseconds within which something of an upload has to arrive: all of it may take as long as it is large. */
  idleMs: number;
}

const DEADLINES: Deadlines = { bodyMs: 120_000, idleMs: 60_000 };

/** A body that does not arrive is answered 408 and its connection closed; Node's own timeout knows no routes. */
export function bodyDeadlines(app: App, { bodyMs, idleMs }: Deadlines = DEADLINES): void {
  app.addHook('onRequest', async (request) => {
    const { raw } = request;
    const { 'content-length': length = '0', 'transfer-encoding': coding } = raw.headers;
    if (raw.complete || (length === '0' && coding === undefined)) return;
    const { socket } = raw;
    let seen = socket.bytesRead;
    const timer = request.routeOptions.config?.upload
      ? setInterval(() => {
          if (socket.bytesRead === seen) late(request);
          seen = socket.bytesRead;
        }, idleMs)
      : setTimeout(() => late(request), bodyMs);
    timer.unref();
    for (const end of ['end', 'close']) raw.once(end, () => clearTimeout(timer));
  });
}

function late(request: FastifyRequest): void {
  const { socket } = request.raw;
  if (request.facts) request.facts.code = 'request_timeout';
  answerClientError(Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket, request);
  socket.destroySoon();
}
