import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';
import { ClientWindow } from './client-window.js';
import { refuseBeyond } from './rate-limit.js';
import type { AdminTokens } from './tokens.js';

/** Knows the admin tokens, and who has been guessing: one for all scopes that take a token. */
export class AdminGuard {
  readonly #tokens: AdminTokens;
  readonly #failures: ClientWindow | undefined;

  /** @param failureLimit wrong tokens of a client in a minute, past which none of its tokens is looked at; 0: any number */
  constructor(tokens: AdminTokens, failureLimit: number) {
    this.#tokens = tokens;
    if (failureLimit > 0) this.#failures = new ClientWindow(failureLimit);
  }

  /** @throws ServiceError unauthorized, too_many_requests */
  async check({ headers, ip }: Pick<FastifyRequest, 'headers' | 'ip'>): Promise<void> {
    await this.#tokens.refresh();
    // from here to the count nothing waits, so that guesses sent at once are counted as those one after another
    const given = /^Bearer +(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
    if (this.#failures) refuseBeyond(this.#failures, ip, 'wrong admin tokens');
    if (given !== undefined && this.#tokens.has(given)) return;
    if (given !== undefined) this.#failures?.add(ip);
    const actual = given === undefined ? 'none' : 'another token';
    const detail = `authorization: expected "Bearer" and the admin token, got ${actual}`;
    throw new ServiceError('unauthorized', detail, { expected: 'Bearer <admin token>', actual });
  }
}

/** Every route of the scope takes `Authorization: Bearer <token>`, checked before anything of the body is read. */
export function bearerToken(app: App, guard: AdminGuard): void {
  app.addHook('onRequest', async (request) => guard.check(request));
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
}
