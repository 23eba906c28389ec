import type { IncomingMessage, ServerResponse } from 'node:http';
import helmet from 'helmet';
import type { App } from '../types.js';

/** Helmet's headers, found once: they are the same for every answer. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = helmetHeaders();

/** Headers that keep a browser from reading more into an answer than it is; `/docs` has a policy of its own. */
export function securityHeaders(app: App): void {
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(SECURITY_HEADERS);
  });
}

function helmetHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  const response = {
    setHeader: (name: string, value: string) => {
      headers[name.toLowerCase()] = value;
    },
    removeHeader: () => undefined,
  };
  const set = helmet({
    // answers are data: nothing in them is to be loaded, run or framed
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    frameguard: { action: 'deny' },
    // whoever terminates TLS knows whether the whole host speaks it
    hsts: false,
  });
  set({} as IncomingMessage, response as unknown as ServerResponse, () => undefined);
  return headers;
}
