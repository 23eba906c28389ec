/** One line for each request; never bodies, query values, tokens or authorization headers. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import type { App, RequestFacts } from '../types.js';

/** Request ids that come from outside are taken when they are this plain, so that a log line cannot be forged by one. */
const SANE_ID = /^[\w.:-]{1,128}$/;
/** Routes that are asked every few seconds. */
export const QUIET: ReadonlySet<string> = new Set([
  '/health/live',
  '/health/ready',
  '/v2/health/live',
  '/v2/health/ready',
  '/metrics',
]);

/** A write for each line costs a request more than all of its other bookkeeping: lines wait for each other, this long at most. */
const GATHERED = { bytes: 4096, ms: 100 };
/** pino's `warn`: such lines, and what came before them, leave at once. */
const URGENT = 40;

/** Lines to stdout unless there is a destination. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const secrets = ['authorization', 'token', 'adminToken', 'password', 'cookie'];
  const options = {
    level,
    base: undefined,
    timestamp: timestamps(),
    redact: { paths: secrets.flatMap((s) => [s, `*.${s}`, `*.*.${s}`]), censor: '[redacted]' },
  };
  if (destination) return pino(options, destination);
  const stdout = gatheredStdout();
  const hooks = {
    logMethod(this: Logger, line: Parameters<LogFn>, log: LogFn, level: number) {
      log.apply(this, line);
      if (level >= URGENT) stdout.flushSync();
    },
  };
  return pino({ ...options, hooks }, stdout);
}

/** The time as ISO 8601, whole seconds made once for all of their lines: making it anew takes as long as the rest of a line. */
export function timestamps(now: () => number = Date.now): () => string {
  let second = Number.NaN;
  let text = '';
  return () => {
    const at = now();
    const ms = at % 1000;
    if (at - ms !== second) {
      second = at - ms;
      text = `,"time":"${new Date(second).toISOString().slice(0, -4)}`;
    }
    return `${text}${String(ms).padStart(3, '0')}Z"`;
  };
}

type Stdout = ReturnType<typeof pino.destination>;
let stdout: Stdout | undefined;

/** What waits leaves when the process exits, in order; a SIGKILL takes a tenth of a second of lines with it. */
function gatheredStdout(): Stdout {
  if (stdout) return stdout;
  const made = pino.destination({ dest: 1, sync: true, minLength: GATHERED.bytes, periodicFlush: GATHERED.ms });
  process.once('exit', () => made.flushSync());
  stdout = made;
  return made;
}

/** Fastify's genReqId: the caller's X-Request-Id, or a new one. */
export function requestId(message: IncomingMessage): string {
  const given = message.headers['x-request-id'];
  return typeof given === 'string' && SANE_ID.test(given) ? given : randomUUID();
}

/** Writes the line of a request. */
export type LogRequest = (request: FastifyRequest, reply: FastifyReply) => void;

export function requestLog(app: App, logger: Logger): void {
  const logRequest = requestLines(logger);
  app.decorateRequest('facts');
  app.addHook('onRequest', async (request, reply) => {
    request.facts = {};
    reply.header('x-request-id', request.id);
    // of an answer that its client did not wait for nobody else tells
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) logRequest(request, reply);
    });
  });
  app.addHook('onResponse', async (request, reply) => logRequest(request, reply));
}

/**
 * What writes the lines of requests. Nothing that they name is a secret, and looking for one in every value would cost more
 * than all the rest of a line: here nothing is redacted, so the request's own logger is for everything else.
 */
export function requestLines(logger: Logger): LogRequest {
  const lines = logger.child({}, { redact: [] });
  return (request, reply) => {
    const level = QUIET.has(request.routeOptions?.url ?? '') ? 'debug' : 'info';
    lines[level](describe(request, reply), 'request');
  };
}

/** The path only, since a query may hold anything. */
function describe(request: FastifyRequest, reply: FastifyReply): Record<string, string | number | boolean | undefined> {
  const facts: RequestFacts = request.facts ?? {};
  return {
    // first, as in the other lines about the request
    request_id: request.id,
    trace_id: facts.trace?.id,
    span_id: request.span?.context.spanId,
    method: request.method,
    path: request.url.split('?', 1)[0].slice(0, 200),
    status: reply.raw.headersSent ? reply.statusCode : undefined,
    client_closed: reply.raw.writableFinished ? undefined : true,
    code: facts.code,
    ms: round(reply.elapsedTime),
    model: facts.model,
    version: facts.version,
    bits: facts.bits,
    activation_bits: facts.activationBits,
    energy_uj: facts.energyUj,
  };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
