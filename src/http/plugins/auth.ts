import { createHash, timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';

/** Every route of the scope takes `Authorization: Bearer <token>`, checked before anything of the body is read. */
export function bearerToken(app: App, token: string): void {
  const wanted = digest(token);
  app.addHook('onRequest', async (request) => {
    const given = /^Bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1];
    // digests have one length, so the comparison takes the same time whatever was sent
    if (given === undefined || !timingSafeEqual(digest(given), wanted)) {
      const actual = given === undefined ? 'none' : 'another token';
      const detail = `authorization: expected "Bearer" and the admin token, got ${actual}`;
      throw new ServiceError('unauthorized', detail, { expected: 'Bearer <admin token>', actual });
    }
  });
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
