import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { App } from '../types.js';

/** Of each connection, the responses that wait for those before them. */
const queued = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Closes the responses of pipelined requests with their connection. Node does so for the one that is being sent and forgets
 * those that wait behind it: their work would go on, and who counts or logs a response when it closes would never hear.
 */
export function closeQueuedResponses(app: App): void {
  for (const event of ['request', 'checkContinue']) app.server.on(event, watch);
}

function watch({ socket }: IncomingMessage, response: ServerResponse): void {
  if (response.socket) return;
  let responses = queued.get(socket);
  if (!responses) {
    responses = new Set();
    queued.set(socket, responses);
    socket.once('close', () => {
      for (const each of queued.get(socket) ?? []) if (!each.socket) close(each);
    });
  }
  responses.add(response);
  response.once('close', () => queued.get(socket)?.delete(response));
}

/** As Node does it. */
function close(response: ServerResponse): void {
  response.destroy();
  response.emit('close');
}
