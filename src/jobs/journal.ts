import { readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, replaceFile } from '../model/durable.js';
import { isTerminal } from './job.js';
import type { Logger } from './logger.js';
import { type JobRecord, parseRecord, recordText } from './record.js';

/** As `replaceFile` names a file that is still being written; under the folder's lock, one found at start is left over. */
const TEMPORARY = '.tmp-';
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
    return replaceFile(join(this.#folder, record.job.id + ENDING), `${recordText(record, 1)}\n`);
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
