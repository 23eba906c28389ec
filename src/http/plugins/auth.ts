import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';
import { ClientWindow } from './client-window.js';
import { refuseBeyond } from './rate-limit.js';
import type { AdminTokens } from './tokens.js';

/** Characters from which on no token is found by guessing, however fast; the service makes tokens of so many. */
const UNGUESSABLE = 32;

/**
 * Knows the admin tokens, and who has been guessing: one for all scopes that take a token. Many clients may have one
 * address, so that those who guess, or go on with a token that was taken away, must not lock the others out.
 */
export class AdminGuard {
  readonly #tokens: AdminTokens;
  readonly #failures: ClientWindow | undefined;
  /** Different wrong tokens: the same one again tells its sender nothing new. */
  readonly #guesses: ClientWindow | undefined;

  /**
   * @param failureLimit wrong tokens of a client in a minute, past which each is a 429; where they all were different, a right
   * one is, too, unless it is too long to be guessed. 0: any number
   */
  constructor(tokens: AdminTokens, failureLimit: number) {
    this.#tokens = tokens;
    if (failureLimit === 0) return;
    this.#failures = new ClientWindow(failureLimit);
    this.#guesses = new ClientWindow(failureLimit);
  }

  /** @throws ServiceError unauthorized, too_many_requests */
  async check({ headers, ip }: Pick<FastifyRequest, 'headers' | 'ip'>): Promise<void> {
    await this.#tokens.refresh();
    // from here to the count nothing waits, so that guesses sent at once are counted as those one after another
    const given = /^Bearer +(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
    if (given === undefined) throw unauthorized('none');
    if (this.#tokens.has(given)) {
      if (given.length < UNGUESSABLE) refuseGuessing(this.#guesses, ip);
      return;
    }
    this.#guesses?.add(ip, createHash('sha256').update(given).digest('base64'));
    refuseGuessing(this.#failures, ip);
    this.#failures?.add(ip);
    throw unauthorized('another token');
  }
}

/** Every route of the scope takes `Authorization: Bearer <token>`, checked before anything of the body is read. */
export function bearerToken(app: App, guard: AdminGuard): void {
  app.addHook('onRequest', async (request) => guard.check(request));
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
}

function refuseGuessing(counted: ClientWindow | undefined, ip: string): void {
  if (counted) refuseBeyond(counted, ip, 'wrong admin tokens');
}

function unauthorized(actual: string): ServiceError {
  const detail = `authorization: expected "Bearer" and the admin token, got ${actual}`;
  return new ServiceError('unauthorized', detail, { expected: 'Bearer <admin token>', actual });
}
