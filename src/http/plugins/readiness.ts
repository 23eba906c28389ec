import type { App } from '../types.js';

export type ReadinessState = 'starting' | 'ready' | 'failed' | 'draining';

/** Where the service is in its life; `/health/ready` and the drain look at it. */
export class Readiness {
  #state: ReadinessState = 'starting';
  #reason = 'the default variant has not answered its warm-up yet';

  get state(): ReadinessState {
    return this.#state;
  }
  /** Why it is not ready, in words for the operator. */
  get reason(): string {
    return this.#reason;
  }

  ready(): void {
    this.#set('ready', '');
  }
  failed(reason: string): void {
    this.#set('failed', reason);
  }
  draining(): void {
    this.#set('draining', 'the service is shutting down');
  }

  #set(state: ReadinessState, reason: string): void {
    // a drain is final: a warm-up that ends late must not bring traffic back
    if (this.#state === 'draining') return;
    this.#state = state;
    this.#reason = reason;
  }
}

/** While the service drains, answers ask their client to come back on another connection. */
export function drainConnections(app: App, readiness: Readiness): void {
  app.addHook('onSend', async (_request, reply) => {
    if (readiness.state === 'draining') reply.header('connection', 'close');
  });
}
