import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fields } from './fields.js';
import { LABEL_NAME } from './labels.js';
import { DIGEST, MODEL_NAME, matching } from './manifest-check.js';
import { RecentMap } from './recent-map.js';
import type { StoreLogger, Version } from './version.js';
import { loadVersionFolder } from './version-folder.js';

/** How long what was read from the folders is believed: another process's change is seen within it. */
const WINDOW_MS = 500;
/** Parsed versions kept at most, the least recently used going first. */
const MAX_PARSED = 64;
const NUMBER_FILE = /^([1-9]\d{0,8})\.version$/;
const LABEL_FILE = /^(.{1,64})\.label$/;

interface VersionRef {
  number: number;
  digest: string;
  folder: string;
}

/** A model as its folders are now. */
export interface ModelState {
  versions: Map<number, VersionRef>;
  /** undefined where no version can be read. */
  current: number | undefined;
  /** False where no `current.json` says so, so that the highest number is current. */
  pinned: boolean;
  /** Version by label, as it was set; the version itself may be gone. */
  labels: Map<string, number>;
  /** Labels of the roots that are only read: removing one of them has to be written down. */
  shippedLabels: Set<string>;
}

interface Read<T> {
  at: number;
  value: Promise<T>;
}

/** What lies in the roots' folders, read anew when it is older than the window. The first root goes before the next. */
export class Catalog {
  private listed: Read<Set<string>> | undefined;
  private readonly states = new Map<string, Read<ModelState>>();
  /** By path of the number file: versions that were read and found whole. */
  private readonly whole = new Map<string, VersionRef>();
  private readonly parsed = new RecentMap<string, Promise<Version>>();
  private readonly warned = new Set<string>();

  constructor(
    private readonly roots: string[],
    private readonly logger: StoreLogger,
  ) {}

  /** Names of the folders that may be models. */
  names(window = WINDOW_MS): Promise<Set<string>> {
    if (!isFresh(this.listed, window)) this.listed = { at: performance.now(), value: this.readNames() };
    return this.listed.value;
  }

  /** What a model's folders hold, read within the window; undefined where there is no such folder. */
  async find(model: string, window = WINDOW_MS): Promise<ModelState | undefined> {
    // Only a name that was found in a folder becomes a path or a key.
    if (!(await this.names(window)).has(model)) return undefined;
    let read = this.states.get(model);
    if (!isFresh(read, window)) {
      read = { at: performance.now(), value: this.readState(model) };
      this.states.set(model, read);
    }
    return read.value;
  }

  /** Forgets what was read of a model: this process has just changed it. */
  forget(model: string): void {
    this.listed = undefined;
    this.states.delete(model);
  }

  /** Reads a version, or gives the one that was read before. */
  load(model: string, { number, digest, folder }: VersionRef): Promise<Version> {
    const key = `${folder} ${number}`;
    const version =
      this.parsed.get(key) ??
      loadVersionFolder(folder, model, digest).then((parts) => ({ model, version: number, digest, folder, ...parts }));
    this.parsed.touch(key, version);
    version.catch(() => this.parsed.delete(key));
    for (const oldest of this.parsed.keys()) {
      if (this.parsed.size <= MAX_PARSED) break;
      this.parsed.delete(oldest);
    }
    return version;
  }

  /** Every number that is taken, readable or not. */
  async numbers(model: string): Promise<number[]> {
    const listed = await Promise.all(this.roots.map((root) => this.list(join(root, model))));
    return listed.flat().flatMap((name) => Number(NUMBER_FILE.exec(name)?.[1] ?? []));
  }

  private async readNames(): Promise<Set<string>> {
    const found = new Set((await Promise.all(this.roots.map((root) => this.list(root)))).flat());
    for (const name of found) if (!MODEL_NAME.test(name)) found.delete(name);
    for (const model of this.states.keys()) if (!found.has(model)) this.states.delete(model);
    return found;
  }

  private async readState(model: string): Promise<ModelState> {
    const versions = new Map<number, VersionRef>();
    const taken = new Map<number, VersionRef | undefined>();
    const currents: { path: string; number: number }[] = [];
    const labelled = new Map<string, number | null>();
    const shippedLabels = new Set<string>();
    for (const [i, root] of this.roots.entries()) {
      const folder = join(root, model);
      // First: what these name was published before, so it is among the entries.
      const current = await this.readCurrent(model, folder);
      if (current !== undefined) currents.push({ path: folder, number: current });
      for (const [label, number] of await this.readLabels(model, folder)) {
        if (!labelled.has(label)) labelled.set(label, number);
        if (i > 0 && number !== null) shippedLabels.add(label);
      }
      const entries = new Set(await this.list(folder));
      for (const name of entries) {
        const match = NUMBER_FILE.exec(name);
        if (match === null) continue;
        const number = Number(match[1]);
        const ref = await this.readRef(model, folder, number, entries);
        if (!taken.has(number)) {
          taken.set(number, ref);
          if (ref) versions.set(number, ref);
        } else if (ref && ref.digest !== taken.get(number)?.digest) {
          this.warn(
            join(folder, name),
            model,
            `version ${number} is hidden by one of the same number in ${this.roots[0]}`,
          );
        }
      }
    }
    const set = [...labelled].filter((entry): entry is [string, number] => entry[1] !== null);
    const labels = { labels: new Map(set), shippedLabels };
    for (const { path, number } of currents) {
      if (versions.has(number)) return { versions, current: number, pinned: true, ...labels };
      this.warn(`${path} ${number}`, model, `current.json names version ${number}, which cannot be read`);
    }
    const highest = versions.size > 0 ? Math.max(...versions.keys()) : undefined;
    return { versions, current: highest, pinned: false, ...labels };
  }

  private readCurrent(model: string, folder: string): Promise<number | undefined> {
    return this.readVersionFile(model, folder, 'current.json', (fields) =>
      fields.integer<never>('version', { min: 1 }),
    );
  }

  /** Version by label; null where the label was taken away from what another root says. */
  private async readLabels(model: string, folder: string): Promise<Map<string, number | null>> {
    const labels = new Map<string, number | null>();
    for (const name of await this.list(folder)) {
      const label = LABEL_FILE.exec(name)?.[1];
      if (label === undefined || !LABEL_NAME.test(label)) continue;
      const number = await this.readVersionFile(model, folder, name, (fields) =>
        fields.integer('version', { min: 1, fallback: null }),
      );
      if (number !== undefined) labels.set(label, number);
    }
    return labels;
  }

  /** What a small file beside the versions says; undefined where it is not there, and with a warning where it cannot be read. */
  private readVersionFile<T>(
    model: string,
    folder: string,
    name: string,
    read: (fields: Fields) => T,
  ): Promise<T | undefined> {
    const path = join(folder, name);
    return this.attempt(path, model, `${name} is passed over`, async () => {
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
      return text === undefined ? undefined : read(new Fields(JSON.parse(text), name));
    });
  }

  /** The version behind a number, or undefined with a warning where it cannot be read. */
  private async readRef(
    model: string,
    folder: string,
    number: number,
    entries: Set<string>,
  ): Promise<VersionRef | undefined> {
    const path = join(folder, `${number}.version`);
    const known = this.whole.get(path);
    if (known && entries.has(known.digest)) return known;
    this.whole.delete(path);
    return this.attempt(path, model, `version ${number} is passed over`, async () => {
      const fields = new Fields(JSON.parse(await readFile(path, 'utf8')), `${number}.version`);
      const digest = matching(fields, 'digest', DIGEST, 'a SHA-256 in hex');
      const ref = { number, digest, folder: join(folder, digest) };
      await this.load(model, ref);
      this.whole.set(path, ref);
      return ref;
    });
  }

  private async attempt<T>(key: string, model: string, what: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.warn(key, model, what, error);
      return undefined;
    }
  }

  /** Names in a folder; none where there is no such folder. */
  private async list(folder: string): Promise<string[]> {
    try {
      return await readdir(folder);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') this.warn(folder, undefined, 'a folder cannot be read', error);
      return [];
    }
  }

  /** Once for each thing: a folder is read again every window. */
  private warn(key: string, model: string | undefined, message: string, err?: unknown): void {
    if (this.warned.has(key)) return;
    this.warned.add(key);
    this.logger.warn({ model, path: key, err }, message);
  }
}

function isFresh<T>(read: Read<T> | undefined, window: number): read is Read<T> {
  return read !== undefined && performance.now() - read.at < window;
}
