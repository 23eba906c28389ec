/** Every error as an RFC 9457 problem document with a stable code; nothing internal ever leaves. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';
import { acceptedTypes } from './bodies.js';
import { urlPattern } from './route-url.js';
import { leaveBody } from './unread-bodies.js';
import { show } from './validation.js';

export const PROBLEM_TYPE = 'application/problem+json';
/** Path parameters are no longer than this. */
export const MAX_PARAM_LENGTH = 200;
/** Milliseconds for a client to read why its connection ends. */
const LINGER_MS = 1000;

/** The members of a problem document, as {@link Problem} in the schemas describes them. */
export function problemDocument(error: ServiceError, requestId?: string, traceId?: string): Record<string, unknown> {
  const document: Record<string, unknown> = {
    type: `urn:bitdial:problem:${error.code}`,
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
  };
  if (requestId !== undefined) document.instance = requestId;
  if (traceId !== undefined) document.trace_id = traceId;
  for (const [key, value] of Object.entries(error.extra)) if (!(key in document)) document[key] = value;
  return document;
}

/** Protocols that word errors in their own way, by what their paths begin with. */
const WORDINGS: readonly [prefix: string, word: (problem: ServiceError) => unknown][] = [
  ['/v1', (problem) => ({ error: problem.message })],
  ['/v2', (problem) => ({ error: problem.message })],
];

/** Installs the error handler and the answers for paths and methods that no route has. */
export function problems(app: App): void {
  const routes: { method: string; pattern: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const pattern = urlPattern(url);
    for (const m of [method].flat()) routes.push({ method: m, pattern });
  });
  app.setErrorHandler<FastifyError>(sendProblem);
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0];
    const methods = [...new Set(routes.filter((r) => r.pattern.test(path)).map((r) => r.method))].sort();
    // with the method that it has, the path differs from the route's once it is decoded
    if (methods.length === 0 || methods.includes(request.method)) throw routeNotFound(request.method, path);
    reply.header('allow', methods.join(', '));
    throw methodNotAllowed(request.method, path, methods);
  });
}

/** Sends any error as a problem document, or as the protocol of its path has it. */
export function sendProblem(
  error: FastifyError | ServiceError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = toServiceError(error, request);
  if (request.facts) request.facts.code = problem.code;
  if (problem.code === 'internal') request.log.error({ err: error }, 'unexpected error');
  if (problem.code === 'unauthorized') reply.header('www-authenticate', 'Bearer realm="bitdial"');
  const retryAfter = problem.extra.retry_after_s;
  if (typeof retryAfter === 'number') reply.header('retry-after', String(Math.max(1, Math.ceil(retryAfter))));
  leaveBody(request, reply);
  reply.code(problem.status);
  // the route's own path: that of the request may be percent-encoded
  const path = request.routeOptions?.url ?? request.url;
  const [, word] = WORDINGS.find(([prefix]) => isUnder(path, prefix)) ?? [];
  if (word) return reply.type('application/json').send(JSON.stringify(word(problem)));
  return reply.type(PROBLEM_TYPE).send(JSON.stringify(problemDocument(problem, request.id, request.facts?.trace?.id)));
}

/** `/v2`, `/v2?…` and `/v2/…` are under `/v2`; `/v20` is not. */
function isUnder(url: string, prefix: string): boolean {
  return url.startsWith(prefix) && /^[/?]?$/.test(url.charAt(prefix.length));
}

/** What Node's HTTP parser refused never becomes a request, and what does not arrive in time is none yet: a bare answer. */
export function answerClientError(error: Error & { code?: string }, socket: Socket, request?: FastifyRequest): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = parserProblem(error.code);
  const id = request?.id;
  const body = JSON.stringify(problemDocument(problem, id, request?.facts?.trace?.id));
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
    ...(id === undefined ? [] : [`x-request-id: ${id}`]),
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // a client that does not close its side, too, would keep the socket
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

function parserProblem(code: string | undefined): ServiceError {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new ServiceError('headers_too_large', 'headers: expected at most 16 KiB, got more');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ServiceError('request_timeout', 'expected the whole request in time, got a part of it');
  }
  return new ServiceError('bad_request', 'expected an HTTP/1.1 request, got something else');
}

function toServiceError(error: FastifyError | ServiceError, request: FastifyRequest): ServiceError {
  if (error instanceof ServiceError) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': {
      const [expected, actual] = [acceptedTypes(request), show(request.headers['content-type'])];
      const extra = { field: 'content-type', expected, actual };
      return new ServiceError('unsupported_media_type', `content-type: expected ${expected}, got ${actual}`, extra);
    }
    case 'FST_ERR_BAD_URL':
      return new ServiceError('bad_request', 'path: expected valid percent-encoding, got something else');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ServiceError(
        'bad_request',
        `path: expected at most ${MAX_PARAM_LENGTH} characters in a parameter, got more`,
      );
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    const code = error.statusCode === 404 ? 'route_not_found' : 'bad_request';
    return new ServiceError(code, 'expected a complete and valid request, got something else');
  }
  return new ServiceError('internal', 'an unexpected error; the log has it under the request id');
}

function routeNotFound(method: string, path: string): ServiceError {
  const actual = `${method} ${path.slice(0, 200)}`;
  return new ServiceError('route_not_found', `expected a route of /openapi.json, got ${actual}`, { actual });
}

function methodNotAllowed(method: string, path: string, methods: string[]): ServiceError {
  const [expected, actual] = [methods.join(', '), method];
  const detail = `${path.slice(0, 200)}: expected ${expected}, got ${actual}`;
  return new ServiceError('method_not_allowed', detail, { expected, actual });
}
