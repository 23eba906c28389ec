import { fastify, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import type { Tracer } from '../telemetry/tracer.js';
import { DEADLINES, type Deadlines, watchBody } from './plugins/deadlines.js';
import { SECURITY_HEADERS } from './plugins/headers.js';
import { requestId, requestLines } from './plugins/logging.js';
import type { Metrics } from './plugins/metrics.js';
import { answerClientError, MAX_PARAM_LENGTH, sendProblem } from './plugins/problem.js';
import { beginTrace } from './plugins/tracing.js';
import type { App } from './types.js';

/** Milliseconds. Load balancers keep idle connections for 60 s: ours stay longer, so that it is they who close. */
const TIMEOUTS = { keepAlive: 72_000, headers: 30_000 };
/** Milliseconds between two looks at who is past the latter. */
const CHECK_MS = 5000;

/** The bare server: limits, timeouts, request ids, and answers to what never becomes a request. */
export function createServer(
  { maxBodyBytes, trustProxy }: Pick<Config, 'maxBodyBytes' | 'trustProxy'>,
  logger: Logger,
  metrics: Metrics,
  tracer: Tracer | null = null,
  deadlines: Deadlines = DEADLINES,
): App {
  const logRequest = requestLines(logger);
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    bodyLimit: maxBodyBytes,
    trustProxy: trustedProxies(trustProxy),
    // of bodies: `deadlines`
    requestTimeout: 0,
    keepAliveTimeout: TIMEOUTS.keepAlive,
    http: { headersTimeout: TIMEOUTS.headers, connectionsCheckingInterval: CHECK_MS },
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // while it drains, what arrives on connections that are open is still answered
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    frameworkErrors(error, request, reply) {
      // no hook runs for these
      request.facts = {};
      beginTrace(tracer, request, reply);
      watchBody(request, reply, deadlines);
      reply.raw.once('finish', () => {
        logRequest(request, reply);
        metrics.countRequest(request, reply);
      });
      reply.headers(SECURITY_HEADERS).header('x-request-id', request.id);
      sendProblem(error, request, reply);
    },
  }) as unknown as App;
  app.addHook('onRequest', async (request, reply) => watchBody(request, reply, deadlines));
  // of Node's own answer to an `Expect` that it does not know the body would be waited for, however long
  app.server.on('checkExpectation', ({ socket }) => answerClientError(new Error('an unknown expectation'), socket));
  return app;
}

/** A number of hops, or the proxies' addresses. */
function trustedProxies(setting: string): false | string | ((address: string, hop: number) => boolean) {
  if (!/^\d+$/.test(setting)) return setting || false;
  return (_address, hop) => hop < Number(setting);
}
