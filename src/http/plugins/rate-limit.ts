import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';
import { ClientWindow } from './client-window.js';

/** What a balancer and a scraper ask, which must not go without an answer. */
export const UNLIMITED = /^\/(?:v2\/)?health\/|^\/metrics$/;

/** Refuses what a client asks beyond so many requests in a minute; 0: nothing, and nothing is counted. */
export function rateLimit(app: App, limit: number): void {
  if (limit === 0) return;
  const requests = new ClientWindow(limit);
  app.addHook('onRequest', async ({ ip, routeOptions }) => {
    if (UNLIMITED.test(routeOptions.url ?? '')) return;
    refuseBeyond(requests, ip, 'requests');
    requests.add(ip);
  });
}

/** @throws ServiceError too_many_requests */
export function refuseBeyond(counted: ClientWindow, ip: string, what: string): void {
  const wait = counted.waitSeconds(ip);
  if (wait === 0) return;
  const [expected, actual] = [`at most ${counted.limit} ${what} in a minute`, 'more'];
  const extra = { expected, actual, retry_after_s: wait };
  throw new ServiceError('too_many_requests', `client: expected ${expected}, got ${actual}`, extra);
}
