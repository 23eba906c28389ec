import { Redis } from 'ioredis';
import { connectionOptions } from './connection.js';

/** Milliseconds after which a listener looks for itself: a message that came while the connection was away is lost. */
const LOOK_MS = 5000;

/** Tells those who listen that something of a job has changed, in whichever process. What has changed is to be read. */
export class Signals {
  readonly #client: Redis;
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(url: string, channel: string) {
    this.#client = new Redis(url, connectionOptions({ maxRetriesPerRequest: null }));
    this.#client.on('error', () => undefined);
    this.#client.on('message', (_channel: string, id: string) => {
      for (const wake of [...(this.#listeners.get(id) ?? [])]) wake();
    });
    // The client subscribes anew by itself; what was said in between has to be looked for.
    this.#client.on('ready', () => this.wakeAll());
    this.#client.subscribe(channel).catch(() => undefined);
    this.#timer = setInterval(() => this.wakeAll(), LOOK_MS).unref();
  }

  /** @returns what ends the listening */
  listen(id: string, wake: () => void): () => void {
    const wakes = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, wakes.add(wake));
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0 && this.#listeners.get(id) === wakes) this.#listeners.delete(id);
    };
  }

  wakeAll(): void {
    for (const wakes of [...this.#listeners.values()]) for (const wake of [...wakes]) wake();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#client.disconnect();
  }
}
