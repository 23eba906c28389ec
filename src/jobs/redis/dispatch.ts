import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Logger } from '../logger.js';
import type { Connection } from './connection.js';
import { connectionOptions, within } from './connection.js';
import type { Keys } from './keys.js';

/** Name of the BullMQ queue, below the prefix. */
export const QUEUE_NAME = 'train';
/** BullMQ's own stream of events, which nobody reads here. */
const MOST_EVENTS = 100;
const ANSWER_MS = 3000;
const CLOSE_MS = 1000;

/**
 * Hands jobs to trainers, by BullMQ. An entry there holds nothing but the job's id: what a job is stands in the ledger, so an
 * entry that is lost is put there again, and one too many is found to have nothing to do.
 */
export class Dispatch {
  readonly #queue: Queue;
  readonly #connection: Connection;
  readonly #logger: Logger;

  constructor(connection: Connection, keys: Keys, logger: Logger) {
    this.#connection = connection;
    this.#logger = logger;
    this.#queue = new Queue(QUEUE_NAME, {
      prefix: keys.root,
      // No limit of time here: it would end what BullMQ asks once, at the beginning, and spoil it for good.
      connection: {
        url: connection.url,
        ...connectionOptions({ enableOfflineQueue: false, maxRetriesPerRequest: null }),
      },
      streams: { events: { maxLen: MOST_EVENTS } },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
    });
    this.#queue.on('error', (error) => logger.debug({ reason: error.message }, 'the connection of the dispatch'));
  }

  /** Where it fails, a trainer's next sweep makes up for it. */
  async add(ids: string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#attempt('jobs cannot be dispatched now', () => {
      return this.#queue.addBulk(ids.map((id) => ({ name: QUEUE_NAME, data: {}, opts: { jobId: id } })));
    });
  }

  /** One that a trainer has in hand stays. */
  async remove(id: string): Promise<void> {
    await this.#attempt('a cancelled job stays dispatched', () => this.#queue.remove(id));
  }

  /** Of these jobs, those that no trainer would ever get. */
  async missing(ids: string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const found = await this.#connection.pipeline((all) => {
      for (const id of ids) all.exists(this.#queue.toKey(id));
    });
    return ids.filter((_id, i) => found[i] === 0);
  }

  async close(): Promise<void> {
    await within(CLOSE_MS, this.#queue.close());
    await within(CLOSE_MS, this.#queue.disconnect());
  }

  async #attempt(failure: string, work: () => Promise<unknown>): Promise<void> {
    if (!this.#connection.up) return;
    try {
      const late = sleep(ANSWER_MS, undefined, { ref: false }).then(() =>
        Promise.reject(new Error('no answer in time')),
      );
      await Promise.race([work(), late]);
    } catch (error) {
      this.#logger.warn({ reason: (error as Error).message }, failure);
    }
  }
}
