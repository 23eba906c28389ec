import { readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, replaceFile } from '../model/durable.js';
import { NO_PROGRESS } from '../training/request.js';
import { isTerminal } from './event-log.js';
import { isJobId } from './identifier.js';
import type { Job, JobProgress, JobState } from './job.js';
import type { Logger } from './logger.js';

/** A job, and what the queue alone has to know about it after a restart. */
export interface JobRecord {
  readonly job: Job;
  /** Attempts that ended by the death of the process or of the worker thread. */
  readonly deaths: number;
  /** A cancel was accepted while it ran. */
  readonly cancelRequested: boolean;
  /** How far the job's checkpoint is; null without one. */
  readonly checkpoint: JobProgress | null;
}

/** As `replaceFile` names a file that is still being written; under the folder's lock, one found at start is left over. */
const TEMPORARY = '.tmp-';
const FORMAT = 'bitdial-job/1';
const STATES: readonly JobState[] = ['queued', 'running', 'succeeded', 'failed', 'cancelled'];
const ENDING = '.json';
const EVENTS_ENDING = '.events.ndjson';
const CHECKPOINT_ENDING = '.checkpoint';
const BROKEN = '.broken';
const READS_AT_ONCE = 32;

/**
 * The durable store of jobs: one `<id>.json` for each in a folder, `<id>.events.ndjson` beside it, and `<id>.checkpoint` for
 * one that has begun and not ended.
 */
export class Journal {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Journal> {
    await makeFolder(folder);
    return new Journal(folder);
  }

  /**
   * Every job, oldest first. A file that holds no whole job is renamed to `<name>.broken` with a warning, for a
   * person to look at; it never keeps the others from being read.
   */
  async load(logger: Logger): Promise<JobRecord[]> {
    const names = await readdir(this.#folder);
    for (const name of names.filter((n) => n.startsWith(TEMPORARY))) await this.#remove(name);
    const files = names.filter((n) => n.endsWith(ENDING)).sort();
    const records: JobRecord[] = [];
    for (let i = 0; i < files.length; i += READS_AT_ONCE) {
      const read = files.slice(i, i + READS_AT_ONCE).map((name) => this.#read(name, logger));
      for (const record of await Promise.all(read)) if (record !== null) records.push(record);
    }
    await this.#removeOrphans(names, records);
    return records;
  }

  /** When it resolves the record survives a kill. */
  save(record: JobRecord): Promise<void> {
    const { job, deaths, cancelRequested, checkpoint } = record;
    const file = { format: FORMAT, job, deaths, cancel_requested: cancelRequested, checkpoint };
    const text = JSON.stringify(file, null, 1);
    return replaceFile(join(this.#folder, job.id + ENDING), `${text}\n`);
  }

  /** Removes a job and its events; the events last, so that none can belong to a later look-up. */
  async remove(id: string): Promise<void> {
    await this.#remove(id + ENDING);
    await this.removeCheckpoint(id);
    await this.#remove(id + EVENTS_ENDING);
  }

  eventsPath(id: string): string {
    return join(this.#folder, id + EVENTS_ENDING);
  }

  checkpointPath(id: string): string {
    return join(this.#folder, id + CHECKPOINT_ENDING);
  }

  removeCheckpoint(id: string): Promise<void> {
    return this.#remove(id + CHECKPOINT_ENDING);
  }

  async #read(name: string, logger: Logger): Promise<JobRecord | null> {
    const path = join(this.#folder, name);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      // Not the file's fault, perhaps: it stays where it is for the next start.
      logger.warn({ file: path, err: error }, 'a job file cannot be read and is left out');
      return null;
    }
    try {
      return parseRecord(text, name.slice(0, -ENDING.length));
    } catch (error) {
      const aside = `${path}${BROKEN}`;
      logger.warn({ file: path, aside, err: error }, 'a job file holds no whole job and is set aside');
      await rename(path, aside).catch((err) => logger.warn({ file: path, err }, 'cannot set the job file aside'));
      return null;
    }
  }

  /** Events whose job is gone, and checkpoints whose job is or has ended: a kill came between two writes. */
  async #removeOrphans(names: string[], records: JobRecord[]): Promise<void> {
    const jobs = new Set(names.map((n) => n.replace(/\.json(\.broken)?$/, '')));
    const ended = new Set(records.filter(({ job }) => isTerminal(job.state)).map(({ job }) => job.id));
    for (const name of names) {
      const [id] = name.split('.', 1);
      if (name === id + EVENTS_ENDING && !jobs.has(id)) await this.#remove(name);
      if (name === id + CHECKPOINT_ENDING && (!jobs.has(id) || ended.has(id))) await this.#remove(name);
    }
  }

  async #remove(name: string): Promise<void> {
    await unlink(join(this.#folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}

/** Throws where the text is not a whole job record of that id. */
function parseRecord(text: string, id: string): JobRecord {
  const file = JSON.parse(text) as Record<string, unknown> & { job?: Job };
  const { job, deaths, cancel_requested: cancelRequested, checkpoint = null } = file;
  const expect = (right: boolean, what: string): void => {
    if (!right) throw new Error(`job file: expected ${what}`);
  };
  expect(file.format === FORMAT, `format ${FORMAT}`);
  expect(isJobId(id) && typeof job === 'object' && job !== null && job.id === id, 'a job with the id of its file name');
  const known = job as Job;
  expect(STATES.includes(known.state), `a state among ${STATES.join(', ')}`);
  expect(typeof known.request === 'object' && known.request !== null, 'a request');
  expect(typeof known.request.model === 'string', 'a model name in the request');
  expect(typeof known.progress === 'object' && known.progress !== null, 'a progress');
  expect(typeof known.created_at === 'string' && typeof known.requestHash === 'string', 'created_at and requestHash');
  expect(known.idempotencyKey === null || typeof known.idempotencyKey === 'string', 'an idempotency key or null');
  expect(Number.isInteger(known.attempts) && Number.isInteger(deaths), 'whole numbers of attempts and deaths');
  expect(typeof cancelRequested === 'boolean', 'cancel_requested');
  expect(typeof checkpoint === 'object', 'a checkpoint or null');
  return {
    // a record may be older than these
    job: { ...known, origin: known.origin ?? null, progress: whole(known.progress) },
    deaths: deaths as number,
    cancelRequested: cancelRequested as boolean,
    checkpoint: checkpoint === null ? null : whole(checkpoint as JobProgress),
  };
}

/** A record may be older than a field of its progress. */
function whole(progress: JobProgress): JobProgress {
  return { ...NO_PROGRESS, ...progress };
}
