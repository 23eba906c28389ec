/** Server-sent events of one job (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { isTerminal, type JobEvent, type JobQueue } from '../../jobs/job.js';
import { NoQuery } from '../schemas/common.js';
import { EventHeaders, eventResponses, JobParams } from '../schemas/jobs.js';
import type { App } from '../types.js';

/** Milliseconds after which a client that lost the connection comes back. */
const RETRY_MS = 2000;

export function jobEventRoutes(
  app: App,
  { queue, heartbeatMs = 15_000 }: { queue: JobQueue; heartbeatMs?: number },
): void {
  const streams = new Set<AbortController>();
  let closing = false;
  // an open stream would hold a drain up to its end; clients come back with Last-Event-ID
  app.addHook('preClose', async () => {
    closing = true;
    for (const controller of streams) controller.abort();
  });

  app.get(
    '/jobs/:id/events',
    {
      exposeHeadRoute: false,
      schema: {
        operationId: 'jobEvents',
        tags: ['admin'],
        summary: 'Follow one training job as server-sent events',
        security: [{ adminToken: [] }],
        params: JobParams,
        querystring: NoQuery,
        headers: EventHeaders,
        response: eventResponses,
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const after = Number(request.headers['last-event-id'] ?? 0);
      const controller = new AbortController();
      const { signal } = controller;
      // before anything is waited for: a client may go away, or a drain begin, in the meantime
      reply.raw.once('close', () => {
        streams.delete(controller);
        controller.abort();
      });
      streams.add(controller);
      if (closing) controller.abort();
      const job = await queue.get(id);
      const events = queue.events(id, after, signal)[Symbol.asyncIterator]();
      let first: Promise<IteratorResult<JobEvent>> = events.next();
      if (isTerminal(job.state)) {
        const result = await first;
        // 204 tells an EventSource not to come back
        if (result.done) return reply.code(204).send();
        first = Promise.resolve(result);
      }

      const stream = new PassThrough();
      const heartbeat = setInterval(() => stream.writableNeedDrain || stream.write(': still here\n\n'), heartbeatMs);
      stream.write(`retry: ${RETRY_MS}\n\n`);
      pump(first, events, stream, signal)
        .catch((error: Error) => {
          if (!signal.aborted) request.log.error({ err: error }, 'the event stream broke');
        })
        .finally(async () => {
          clearInterval(heartbeat);
          stream.end();
          await events.return?.();
        });
      reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no');
      return reply.type('text/event-stream').send(stream);
    },
  );
}

/** Writes events until the job's last or until the client is gone; a slow client holds back the reading of more. */
async function pump(
  first: Promise<IteratorResult<JobEvent>>,
  events: AsyncIterator<JobEvent>,
  stream: PassThrough,
  signal: AbortSignal,
): Promise<void> {
  for (let result = await first; !result.done && !signal.aborted; result = await events.next()) {
    if (!stream.write(frame(result.value))) await once(stream, 'drain', { signal });
  }
}

/** JSON has no line breaks, so that one data line is enough. */
function frame({ id, type, at, data }: JobEvent): string {
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify({ at, ...data })}\n\n`;
}
