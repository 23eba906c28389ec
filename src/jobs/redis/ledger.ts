import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttemptLedger } from '../attempt.js';
import { eventData, isTerminal, JOB_STATES, type Job, type JobEvent, type JobState } from '../job.js';
import type { Logger } from '../logger.js';
import { type JobRecord, parseRecord, recordText } from '../record.js';
import { jobNotFound } from '../submission.js';
import type { Connection } from './connection.js';
import type { Keys } from './keys.js';
import { ADD, ANNOUNCE, BEAT, PRUNE, SAVE } from './scripts.js';

/** Events that a job's stream keeps, about: the oldest progress goes first, changes of state never. */
const MOST_EVENTS = 2000;
/** The same of a job that has ended. */
const MOST_EVENTS_ENDED = 100;

export type Added = { kind: 'added' } | { kind: 'used'; id: string; requestHash: string };
export type Refused = { kind: 'full'; waiting: number } | { kind: 'behind'; last: string };
type Live = Partial<Pick<Job, 'progress' | 'backend'>>;

/** All jobs, in Redis. Each change is one script: record, place and event change together, for every process at once. */
export class RedisLedger implements AttemptLedger {
  readonly #connection: Connection;
  readonly #keys: Keys;
  readonly #checkpoints: string;
  readonly #logger: Logger;
  /** Told of once. */
  readonly #unreadable = new Set<string>();

  /** @param checkpoints folder that all trainers share */
  constructor(connection: Connection, keys: Keys, checkpoints: string, logger: Logger) {
    this.#connection = connection;
    this.#keys = keys;
    this.#checkpoints = checkpoints;
    this.#logger = logger;
  }

  /** Accepts a job, unless its key was used before or too many wait; when it resolves the job is in Redis. */
  async add(record: JobRecord, maxJobs: number): Promise<Added | Refused> {
    const { id, idempotencyKey, requestHash } = record.job;
    const { job, events, states, last, news } = this.#keys;
    const key = idempotencyKey === null ? '' : this.#keys.key(idempotencyKey);
    const keys = [job(id), events(id), states(id), this.#keys.in('queued'), last, key || last, news];
    const values = [recordText(record), maxJobs, eventOf('state', record.job), MOST_EVENTS];
    const used = key === '' ? '' : `${id} ${requestHash}`;
    const [kind, what] = (await this.#connection.run((redis) =>
      ADD.run(redis, keys, [id, ...values, used]),
    )) as string[];
    if (kind === 'used') {
      const [usedBy, hash = ''] = what.split(' ');
      return { kind, id: usedBy, requestHash: hash };
    }
    if (kind === 'full') return { kind, waiting: Number(what) };
    return kind === 'behind' ? { kind, last: what } : { kind: 'added' };
  }

  /** The job as it is this moment. @throws ServiceError job_not_found */
  async get(id: string): Promise<Job> {
    const [job] = await this.#views([id]);
    if (job === undefined) throw jobNotFound(id);
    return job;
  }

  /** In no order. */
  async list(states: readonly JobState[] = JOB_STATES): Promise<Job[]> {
    return this.#views(await this.ids(states));
  }

  async ids(states: readonly JobState[]): Promise<string[]> {
    const found = await this.#connection.pipeline((all) => {
      for (const state of states) all.zrange(this.#keys.in(state), '0', '-1');
    });
    return (found as string[][]).flat();
  }

  async counts(): Promise<Record<JobState, number>> {
    const found = await this.#connection.pipeline((all) => {
      for (const state of JOB_STATES) all.zcard(this.#keys.in(state));
    });
    return Object.fromEntries(JOB_STATES.map((state, i) => [state, found[i]])) as Record<JobState, number>;
  }

  /** undefined where there is no such job, or none that can be read. */
  async record(id: string): Promise<JobRecord | undefined> {
    return (await this.#read(id))?.record;
  }

  async update(id: string, change: (record: JobRecord) => JobRecord | null): Promise<JobRecord> {
    for (;;) {
      const before = await this.#read(id);
      if (before === undefined) throw jobNotFound(id);
      const after = change(before.record);
      if (after === null) return before.record;
      const saved = await this.#save(before.record.job.state, before.revision, after);
      if (saved === -1) throw jobNotFound(id);
      if (saved === 0) continue;
      if (isTerminal(after.job.state)) await this.#ended(id);
      return after;
    }
  }

  async announceProgress(job: Job): Promise<void> {
    const { id, attempts, progress, backend } = job;
    const keys = [this.#keys.job(id), this.#keys.events(id), this.#keys.backend, this.#keys.news];
    const live = JSON.stringify({ progress, backend } satisfies Live);
    const values = [id, attempts, live, eventOf('progress', job), MOST_EVENTS, backend ?? ''];
    try {
      await this.#connection.run((redis) => ANNOUNCE.run(redis, keys, values));
    } catch (error) {
      this.#logger.debug({ err: error, job: id }, 'the progress of a job cannot be announced');
    }
  }

  checkpointPath(id: string): string {
    return join(this.#checkpoints, `${id}.checkpoint`);
  }

  /** Says that a trainer still runs an attempt, and learns whether it is to. */
  async beat(id: string, attempt: number, trainer: string, lastsMs: number): Promise<'held' | 'cancel' | 'lost'> {
    const keys = [this.#keys.job(id), this.#keys.owner(id)];
    const answer = await this.#connection.run((redis) => BEAT.run(redis, keys, [attempt, trainer, lastsMs]));
    return answer as 'held' | 'cancel' | 'lost';
  }

  /** Whether a trainer has lately said that it runs the job. */
  async isOwned(id: string): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.exists(this.#keys.owner(id)))) === 1;
  }

  /** Running jobs that are to be cancelled, and of which no trainer has lately said that it runs them. */
  async unheardCancels(): Promise<Job[]> {
    const ids = await this.ids(['running']);
    const found = await this.#connection.pipeline((all) => {
      for (const id of ids) all.hget(this.#keys.job(id), 'cancel').exists(this.#keys.owner(id));
    });
    const unheard = ids.filter((_id, i) => found[2 * i] === '1' && found[2 * i + 1] === 0);
    return unheard.length === 0 ? [] : this.#views(unheard);
  }

  backend(): Promise<string | null> {
    return this.#connection.run((redis) => redis.get(this.#keys.backend));
  }

  /** Forgets the oldest finished jobs but for so many. */
  async prune(keep: number): Promise<void> {
    await this.#connection.run((redis) => PRUNE.run(redis, [this.#keys.finished], [keep, this.#keys.root]));
  }

  async #read(id: string): Promise<{ record: JobRecord; revision: string } | undefined> {
    const [record, revision] = await this.#connection.run((redis) => {
      return redis.hmget(this.#keys.job(id), 'record', 'revision');
    });
    const whole = record === null ? undefined : this.#parse(id, record);
    return whole && revision !== null ? { record: whole, revision } : undefined;
  }

  async #save(from: JobState, revision: string, after: JobRecord): Promise<number> {
    const { job: key, events, states, finished, owner, news } = this.#keys;
    const { id, state, attempts, finished_at } = after.job;
    const keys = [
      key(id),
      events(id),
      states(id),
      this.#keys.in(from),
      this.#keys.in(state),
      finished,
      owner(id),
      news,
    ];
    const event = state === from ? '' : eventOf('state', after.job);
    const finishedAt = finished_at === null ? '' : Date.parse(finished_at);
    const values = [state, attempts, after.cancelRequested ? 1 : 0, finishedAt, event];
    const bound = isTerminal(state) ? MOST_EVENTS_ENDED : MOST_EVENTS;
    return this.#connection.run(async (redis) => {
      return Number(await SAVE.run(redis, keys, [id, revision, recordText(after), ...values, bound]));
    });
  }

  async #views(ids: string[]): Promise<Job[]> {
    const found = await this.#connection.pipeline((all) => {
      for (const id of ids) all.hmget(this.#keys.job(id), 'record', 'live');
    });
    return (found as (string | null)[][]).flatMap(([record, live], i) => {
      const whole = record === null ? undefined : this.#parse(ids[i], record);
      if (whole === undefined) return [];
      const { job } = whole;
      return job.state === 'running' && live !== null ? { ...job, ...(JSON.parse(live) as Live) } : job;
    });
  }

  /** A record that this process cannot read keeps nobody from the others; a process of another version may read it. */
  #parse(id: string, text: string): JobRecord | undefined {
    try {
      return parseRecord(text, id);
    } catch (error) {
      if (!this.#unreadable.has(id)) this.#logger.warn({ err: error, job: id }, 'the record of a job cannot be read');
      this.#unreadable.add(id);
      return undefined;
    }
  }

  /** One that stays is removed when a trainer next begins. */
  async #ended(id: string): Promise<void> {
    await rm(this.checkpointPath(id), { force: true }).catch((error) => {
      this.#logger.warn({ err: error, job: id }, 'the checkpoint of a job that ended cannot be removed');
    });
  }
}

/** JSON without its id, which the script gives it. */
function eventOf(type: JobEvent['type'], job: Job): string {
  return JSON.stringify({ at: new Date().toISOString(), type, data: eventData(job) } satisfies Omit<JobEvent, 'id'>);
}
