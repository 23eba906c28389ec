import { randomUUID } from 'node:crypto';
import type { Connection } from './connection.js';
import type { Keys } from './keys.js';
import { HOLD } from './scripts.js';

/** Milliseconds for which a lock outlives its holder. */
const LASTS_MS = 30_000;

/** Locks that the processes over one Redis share. */
export class Locks {
  readonly #connection: Connection;
  readonly #keys: Keys;

  constructor(connection: Connection, keys: Keys) {
    this.#connection = connection;
    this.#keys = keys;
  }

  /**
   * @returns what lets it go, or null where another one holds it
   * @throws ServiceError queue_unavailable
   */
  async take(name: string): Promise<(() => Promise<void>) | null> {
    const key = this.#keys.lock(name);
    const token = randomUUID();
    const taken = await this.#connection.run((redis) => redis.set(key, token, 'PX', LASTS_MS, 'NX'));
    if (taken === null) return null;
    const hold = (ms: number): Promise<void> =>
      this.#connection
        .run((redis) => HOLD.run(redis, [key], [token, ms]))
        .then(
          () => undefined,
          () => undefined,
        );
    const timer = setInterval(() => void hold(LASTS_MS), LASTS_MS / 3).unref();
    return () => {
      clearInterval(timer);
      return hold(0);
    };
  }
}
