import type { App } from '../types.js';

/** Headers that keep a browser from reading more into an answer than it is. */
export function securityHeaders(app: App): void {
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('x-frame-options', 'DENY');
    reply.header('referrer-policy', 'no-referrer');
  });
}
