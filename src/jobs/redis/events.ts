import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../../errors.js';
import { isTerminal, type JobEvent, type JobState } from '../job.js';
import { jobNotFound } from '../submission.js';
import type { Connection } from './connection.js';
import type { Keys } from './keys.js';
import type { Signals } from './signals.js';

const AT_ONCE = 200;
/** Milliseconds until a reader asks again while Redis is away. */
const RETRY_MS = 500;

interface Batch {
  events: JobEvent[];
  state: JobState;
}

/**
 * Reads the events of jobs, in any process. Past ones and live ones are read from one place, and a signal only says that
 * there is more: so nothing is lost or repeated at a seam, also where Redis was away in between.
 */
export class Events {
  readonly #connection: Connection;
  readonly #keys: Keys;
  readonly #signals: Signals;
  #stopped = false;

  constructor(connection: Connection, keys: Keys, signals: Signals) {
    this.#connection = connection;
    this.#keys = keys;
    this.#signals = signals;
  }

  /** As `JobQueue.events`; of a long run the oldest progress may be gone, the changes of state never. */
  async *read(id: string, afterId: number, signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    let position = Math.min(afterId, await this.#last(id));
    let more = false;
    let wake: () => void = () => undefined;
    const ending = this.#signals.listen(id, () => {
      more = true;
      wake();
    });
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted) {
        more = false;
        const batch = await this.#patiently(() => this.#after(id, position), signal);
        if (batch === undefined) return;
        for (const event of batch.events) {
          yield event;
          position = event.id;
          if (signal.aborted || (event.type === 'state' && isTerminal(event.data.state))) return;
        }
        if (batch.events.length > 0) continue;
        if (this.#stopped || isTerminal(batch.state)) return;
        if (more || signal.aborted) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      ending();
    }
  }

  /** Ends every reader that waits for more. */
  stop(): void {
    this.#stopped = true;
    this.#signals.wakeAll();
  }

  async #last(id: string): Promise<number> {
    const last = await this.#connection.run((redis) => redis.hget(this.#keys.job(id), 'events'));
    if (last === null) throw jobNotFound(id);
    return Number(last);
  }

  /** undefined where the job is forgotten. */
  async #after(id: string, position: number): Promise<Batch | undefined> {
    const answers = await this.#connection.run((redis) => {
      const all = redis.multi().hget(this.#keys.job(id), 'state');
      return all.xrange(this.#keys.events(id), `${position + 1}-0`, '+', 'COUNT', AT_ONCE).exec();
    });
    const [[, state], [, entries]] = answers as [[null, JobState | null], [null, [string, string[]][]]];
    if (state === null) return undefined;
    const events = entries.map(([, [, json]]) => JSON.parse(json) as JobEvent);
    // Trimmed, or never there: what is missing before the first are changes of state, or progress that is gone.
    if (events.length > 0 && events[0].id > position + 1) {
      events.unshift(...(await this.#states(id, position, events[0].id)));
    }
    return { events, state };
  }

  async #states(id: string, after: number, before: number): Promise<JobEvent[]> {
    const all = await this.#connection.run((redis) => redis.lrange(this.#keys.states(id), 0, -1));
    return all.map((json) => JSON.parse(json) as JobEvent).filter((e) => e.id > after && e.id < before);
  }

  /** Waits while Redis is away: who follows a job stays connected. */
  async #patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    while (!signal.aborted && !this.#stopped) {
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return undefined;
  }
}
