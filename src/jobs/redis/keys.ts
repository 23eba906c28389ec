import { createHash } from 'node:crypto';
import type { JobState } from '../job.js';

/**
 * The names of everything that is kept in Redis, below one prefix:
 *
 *     {prefix}:job:<id>       hash: record (JSON), revision, state, attempts, cancel, events (number of the last), live (JSON), key
 *     {prefix}:events:<id>    stream of the job's events; entry n-0 is event n; bounded
 *     {prefix}:states:<id>    list of those events that are changes of state; never trimmed
 *     {prefix}:in:<state>     sorted set of the jobs in a state
 *     {prefix}:finished       sorted set of the finished ones, by when
 *     {prefix}:owner:<id>     which trainer runs the job; expires soon after the trainer falls silent
 *     {prefix}:key:<digest>   `<id> <request hash>` behind an idempotency key
 *     {prefix}:last           the newest job id
 *     {prefix}:backend        the training backend of the last job that ran
 *     {prefix}:lock:<name>    a lock that replicas share
 *     {prefix}:train:…        BullMQ's own
 *
 * The braces put all of them into one slot of a Redis cluster.
 */
export class Keys {
  readonly root: string;

  constructor(prefix: string) {
    this.root = `{${prefix}}`;
  }

  job = (id: string): string => `${this.root}:job:${id}`;
  events = (id: string): string => `${this.root}:events:${id}`;
  states = (id: string): string => `${this.root}:states:${id}`;
  owner = (id: string): string => `${this.root}:owner:${id}`;
  in = (state: JobState): string => `${this.root}:in:${state}`;
  lock = (name: string): string => `${this.root}:lock:${name}`;

  /** An idempotency key is any text of a client's. */
  key(idempotencyKey: string): string {
    return `${this.root}:key:${createHash('sha256').update(idempotencyKey).digest('hex')}`;
  }

  get finished(): string {
    return `${this.root}:finished`;
  }
  get last(): string {
    return `${this.root}:last`;
  }
  get backend(): string {
    return `${this.root}:backend`;
  }
  /** Channel on which the id of a job is told when something of it has changed. */
  get news(): string {
    return `${this.root}:news`;
  }
}
