import { setTimeout as sleep } from 'node:timers/promises';
import { type ChainableCommander, Redis, type RedisOptions } from 'ioredis';
import { ServiceError } from '../../errors.js';
import type { Logger } from '../logger.js';

/** Milliseconds until a command that is not answered fails, and between two looks whether the server is there. */
const ANSWER_MS = 3000;
const LOOK_MS = 1000;
const LONGEST_RECONNECT_MS = 1000;
const RETRY_AFTER_S = 5;
/** Of a server that says nothing. */
const NO_ANSWER = 'no answer; a server of TLS is reached by rediss://, another one by redis://';
/** Refusals of a server that is there but cannot work now: out of memory, loading, failing over, no right to write … */
const UNABLE =
  /^(OOM|LOADING|MISCONF|READONLY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|BUSY|NOAUTH|WRONGPASS|NOPERM|UNBLOCKED)\b/;

/** Connections that come back for as long as it takes. */
export function connectionOptions<T extends RedisOptions>(more: T) {
  const retryStrategy = (times: number): number => Math.min(50 * 2 ** Math.min(times, 10), LONGEST_RECONNECT_MS);
  return { connectTimeout: ANSWER_MS, retryStrategy, ...more };
}

/**
 * The connection for commands. A server that is away is known to be: then a command fails at once, with an error for the
 * client that says when to come back, and never hangs.
 */
export class Connection {
  readonly url: string;
  readonly #client: Redis;
  readonly #logger: Logger;
  readonly #listeners = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;
  #upSince: number | null = null;
  #everUp = false;
  /** Never the error itself: its command may be the one that holds the password. */
  #why: string | undefined;
  /** What the server refuses of how the connection begins, which the client goes on after: the database, above all. */
  #refusal: Error | undefined;
  #looking = false;

  constructor(url: string, logger: Logger) {
    this.url = url;
    this.#logger = logger;
    const fast = { maxRetriesPerRequest: 0, enableOfflineQueue: false, commandTimeout: ANSWER_MS };
    this.#client = new Redis(url, connectionOptions(fast));
    this.#client.on('connect', () => {
      this.#refusal = undefined;
    });
    this.#client.on('error', (error) => {
      if (error.name === 'ReplyError' && this.#client.status === 'connect') this.#refusal = error;
      this.#down(error);
    });
    this.#client.on('close', () => this.up && this.#down(new Error('the connection is closed')));
    this.#client.on('ready', () => void this.#look());
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref();
  }

  /** Resolves when the server has answered, or has not for a while: that is no reason not to begin. */
  async begun(): Promise<void> {
    if (this.up) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ANSWER_MS);
      this.#listeners.add(done);
    });
    if (this.up) return;
    this.#logger.error(
      { redis: this.where, reason: this.#why ?? NO_ANSWER },
      'Redis cannot be reached; jobs wait until it can',
    );
  }

  get up(): boolean {
    return this.#upSince !== null;
  }

  /** Milliseconds for which the server has been there without a break. */
  get upFor(): number {
    return this.#upSince === null ? 0 : performance.now() - this.#upSince;
  }

  /** Without the password. */
  get where(): string {
    const { host, port, db } = this.#client.options;
    return `${host}:${port}/${db}`;
  }

  /** Called whenever the server has come back, and the first time. */
  onUp(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** @throws ServiceError queue_unavailable */
  async run<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    if (!this.up) throw unavailable();
    try {
      return await work(this.#client);
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      const { name, message } = error as Error;
      if (name === 'ReplyError') {
        if (!UNABLE.test(message)) throw error;
        this.#logger.error({ redis: this.where, reason: message }, 'Redis refuses a command');
      } else this.#down(error as Error);
      throw unavailable();
    }
  }

  /** Several commands, sent at once: their answers, in order. @throws ServiceError queue_unavailable */
  pipeline(fill: (all: ChainableCommander) => void): Promise<unknown[]> {
    return this.run(async (redis) => {
      const all = redis.pipeline();
      fill(all);
      const answers = (await all.exec()) ?? [];
      for (const [error] of answers) if (error !== null) throw error;
      return answers.map(([, value]) => value);
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
    this.#client.removeAllListeners('close');
    this.#client.disconnect();
  }

  #down(error: Error): void {
    this.#why = error.message;
    if (!this.up) return;
    this.#upSince = null;
    this.#logger.error({ redis: this.where, reason: error.message }, 'Redis is gone; jobs wait until it is back');
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#client.status !== 'ready') return;
    this.#looking = true;
    try {
      if (this.#refusal !== undefined) {
        // What is kept would lie in another database than the one that was asked for.
        this.#down(this.#refusal);
        this.#client.disconnect(true);
      } else if (this.up) await this.#client.ping();
      else await this.#greet(await this.#client.info());
    } catch (error) {
      this.#down(error as Error);
    } finally {
      this.#looking = false;
    }
  }

  async #greet(info: string): Promise<void> {
    const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
    // A look at another server would say as little about this one as a ping while it reads its files.
    if (field('loading') === '1') return;
    const facts = { redis: this.where, version: field('redis_version') };
    this.#logger.info(facts, this.#everUp ? 'Redis is back' : 'Redis is there');
    if (!this.#everUp) this.#warn(facts, field('aof_enabled'), field('maxmemory_policy'));
    this.#everUp = true;
    this.#upSince = performance.now();
    for (const listener of [...this.#listeners]) listener();
  }

  #warn(facts: object, appendOnly: string | undefined, policy: string | undefined): void {
    if (appendOnly === '0') {
      this.#logger.warn(
        facts,
        'Redis keeps no append-only file: set "appendonly yes", or its restart loses accepted jobs',
      );
    }
    if (policy !== undefined && policy !== 'noeviction') {
      this.#logger.warn({ ...facts, policy }, 'Redis may evict jobs: set "maxmemory-policy noeviction"');
    }
  }
}

export function unavailable(): ServiceError {
  return new ServiceError('queue_unavailable', 'expected the Redis server that keeps the jobs, it cannot be reached', {
    retry_after_s: RETRY_AFTER_S,
  });
}

/** Waits for what may fail or never come, and does not matter then. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal });
  await Promise.race([work, late]).catch(() => undefined);
  over.abort();
  await late.catch(() => undefined);
}
