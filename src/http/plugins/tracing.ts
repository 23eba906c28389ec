/** One span for each request, where a tracer is there; without one only the caller's trace id, for log and problem documents. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { StepObserver } from '../../serving/steps.js';
import { formatTraceparent, parseTraceparent } from '../../telemetry/trace-context.js';
import { type Attributes, attributesOf, type Span, type Tracer } from '../../telemetry/tracer.js';
import type { App } from '../types.js';
import { QUIET } from './logging.js';
import { urlName } from './route-url.js';

/** Methods that the semantic conventions know; another one must not become a value of its own. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']);

export function requestTracing(app: App, tracer: Tracer | null): void {
  app.decorateRequest('span');
  app.decorateRequest('spanStart', 0);
  app.addHook('onRequest', async (request, reply) => beginTrace(tracer, request, reply));
  if (tracer === null) return;
  app.addHook('preValidation', async ({ span, spanStart, raw, headers }) => {
    if (!span?.recording || !raw.complete || headers['content-type'] === undefined) return;
    span.onStep('receive body', spanStart, performance.now(), { mediaType: mediaType(headers['content-type']) });
  });
}

/** Takes the request's trace up; probes and scrapes get no span of their own. */
export function beginTrace(tracer: Tracer | null, request: FastifyRequest, reply: FastifyReply): void {
  const { headers, method } = request;
  const url = request.routeOptions?.url;
  const route = url === undefined ? undefined : urlName(url);
  if (tracer === null || (route !== undefined && QUIET.has(route))) {
    const context = parseTraceparent(headers.traceparent);
    if (context === null) return;
    request.facts.trace = { id: context.traceId, parent: formatTraceparent(context) };
    mark(request, reply, { trace_id: context.traceId });
    return;
  }
  const known = METHODS.has(method) ? method : '_OTHER';
  const name = `${known === '_OTHER' ? 'HTTP' : known}${route === undefined ? '' : ` ${route}`}`;
  const span = tracer.request(name, headers, { ...described(request, known), 'http.route': route });
  const { traceId, spanId } = span.context;
  request.span = span;
  request.spanStart = performance.now();
  request.facts.trace = { id: traceId, parent: formatTraceparent(span.context) };
  mark(request, reply, { trace_id: traceId, span_id: spanId });
  // `close` comes once for each response, also for one that its client did not wait for
  reply.raw.once('close', () => endTrace(span, request, reply));
}

function endTrace(span: Span, request: FastifyRequest, reply: FastifyReply): void {
  if (!span.recording) return;
  const { trace: _trace, ...facts } = request.facts;
  const { statusCode, headersSent, writableFinished } = reply.raw;
  const attributes = attributesOf({
    ...facts,
    requestId: request.id,
    clientClosed: writableFinished ? undefined : true,
  });
  if (headersSent) attributes['http.response.status_code'] = statusCode;
  // what a client did wrong is no error of the server
  const error = headersSent && statusCode >= 500 ? (facts.code ?? String(statusCode)) : undefined;
  span.end(attributes, error);
}

/** For a request to serving: whom it tells of its steps. */
export function traced({ span }: FastifyRequest): StepObserver | undefined {
  return span?.recording ? span : undefined;
}

/** What is known when it comes in. The path alone: a query may hold anything. */
function described(request: FastifyRequest, method: string): Attributes {
  const { headers, raw } = request;
  const length = Number(headers['content-length']);
  return {
    'http.request.method': method,
    'http.request.method_original': method === '_OTHER' ? request.method : undefined,
    'http.request.body.size': Number.isSafeInteger(length) ? length : undefined,
    'url.path': request.url.split('?', 1)[0].slice(0, 200),
    'url.scheme': 'http',
    'network.protocol.version': raw.httpVersion,
    'server.address': raw.socket.localAddress,
    'server.port': raw.socket.localPort,
    'user_agent.original': headers['user-agent']?.slice(0, 200),
  };
}

function mark(request: FastifyRequest, reply: FastifyReply, bindings: Record<string, string>): void {
  request.log = request.log.child(bindings);
  reply.log = request.log;
}

function mediaType(header: string): string {
  return header.split(';', 1)[0].trim().toLowerCase().slice(0, 100);
}
