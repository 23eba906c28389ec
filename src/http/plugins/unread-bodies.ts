/** Bodies of requests that are answered before they are read: a client that waits to be told never sends its own, another's is dropped. */
import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { App } from '../types.js';

/** Whose client has sent `Expect: 100-continue` and was not told to go on. */
const waiting = new WeakSet<IncomingMessage>();

/** Tells a client that expects `100 Continue` when its body is first read, not before: what is refused by its headers is not sent. */
export function continueWhenRead(app: App): void {
  app.server.on('checkContinue', (request, response) => {
    waiting.add(request);
    const read = request._read;
    request._read = (size) => {
      request._read = read;
      waiting.delete(request);
      if (!response.headersSent) response.writeContinue();
      read.call(request, size);
    };
    app.routing(request, response);
  });
}

/**
 * Sees to what is left of the body of a request that is being refused. Where its client waits to be told, the connection
 * closes, since the next bytes on it might be a body or a request. Else the body is read and dropped, so that a client which
 * writes all of it before it reads gets the answer; closing the connection would reset it under the client.
 */
export function leaveBody({ raw }: FastifyRequest, reply: FastifyReply): void {
  // Fastify's own, for a body that its reader refuses
  reply.removeHeader('connection');
  if (raw.complete) return;
  if (waiting.has(raw)) reply.header('connection', 'close');
  else drop(raw);
}

/** A piece at a time: without pauses Node reads two megabytes of one connection before it looks at the next. */
function drop(body: IncomingMessage): void {
  body.on('data', () => {
    body.pause();
    setImmediate(() => body.resume());
  });
}
