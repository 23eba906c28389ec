/** The data sets in `<dataDir>/datasets`: what there is, what comes in as an archive, what goes. */
import { existsSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ServiceError } from '../../errors.js';
import { makeFolder, syncFolder } from '../../model/durable.js';
import { removeLeftoversIn, temporaryName } from '../../model/temporary.js';
import { unpackTar } from '../../tar.js';
import { cacheRoot, DatasetCache } from './cache.js';
import type { DatasetKind, OpenDataset, Skipped } from './dataset.js';
import { openFolder } from './folder.js';
import { recognise } from './layout.js';
import { DATASETS, datasetFolder, datasetNames, datasetsRoot } from './table.js';

export interface DatasetStoreOptions {
  dataDir: string;
  /** Of an archive, unpacked, and of the pixels that images become. */
  maxBytes: number;
  /** Files and folders of an archive. */
  maxFiles: number;
  maxImagePixels: number;
  /** Id of a job that is queued or runs and uses the data set; null where none does. */
  usedBy(name: string): Promise<string | null>;
  /**
   * Takes a lock that all processes over the folder share, where there are several: what lets it go, or null where another
   * one has it.
   */
  lock?(name: string): Promise<(() => Promise<void>) | null>;
}

export interface DatasetEntry {
  name: string;
  built_in: boolean;
  /** Null where the folder is none of the layouts, or a built-in set that has not been fetched. */
  kind: DatasetKind | null;
  /** What is wrong with it. */
  error: string | null;
}

/** What a training would see of a data set. */
export interface DatasetSummary {
  name: string;
  kind: DatasetKind;
  /** [height, width, channels] */
  input_shape: number[];
  labels: string[];
  examples: { train: number; validation: number; test: number };
  skipped: Skipped | null;
}

const REPLACED = '.replaced-';

export class DatasetStore {
  readonly #options: DatasetStoreOptions;
  readonly #root: string;
  /** One change of names at a time. */
  #changing: Promise<unknown> = Promise.resolve();
  /** Names that archives arrive for. */
  readonly #uploading = new Set<string>();

  /** Removes what killed uploads left behind, and puts back what one was about to replace. */
  constructor(options: DatasetStoreOptions) {
    this.#options = options;
    this.#root = datasetsRoot(options.dataDir);
    removeLeftoversIn(this.#root);
    removeLeftoversIn(cacheRoot(options.dataDir));
    putBack(this.#root);
  }

  /** The names that a training can use. */
  names(): Promise<string[]> {
    return datasetNames(this.#options.dataDir);
  }

  async list(): Promise<DatasetEntry[]> {
    const entries: DatasetEntry[] = [];
    for (const name of await this.names()) {
      const built_in = Object.hasOwn(DATASETS, name);
      if (name === 'mnist') entries.push({ name, built_in, kind: 'idx', error: null });
      else entries.push({ name, built_in, ...(await this.#kindOf(name)) });
    }
    return entries;
  }

  /**
   * Unpacks an archive, opens what it holds as a training would, and gives it its name in one rename: a kill before that
   * leaves nothing that counts. Images are decoded at the size that a training takes by default.
   * @param source tar, plain or gzip
   * @throws ServiceError `invalid_field`, `dataset_exists`, `dataset_in_use`, `bad_archive`, `body_too_large`, `bad_dataset`,
   *   `storage_full`
   */
  async add(name: string, source: Readable, { replace }: { replace: boolean }): Promise<DatasetSummary> {
    await this.#refuse(name, replace);
    this.#refuseUploading(name);
    this.#uploading.add(name);
    const release = await this.#lock(name).catch((error: unknown) => {
      this.#uploading.delete(name);
      throw error;
    });
    const temporary = join(this.#root, temporaryName());
    const { dataDir, maxBytes, maxFiles, maxImagePixels } = this.#options;
    const cache = new DatasetCache(dataDir, name, { isStaged: true });
    try {
      await makeFolder(this.#root);
      await mkdir(temporary);
      await unpackTar(source, temporary, { entries: maxFiles, fileBytes: maxBytes, totalBytes: maxBytes });
      const dataset = await openFolder(name, temporary, { dataDir, maxBytes, maxImagePixels, cache });
      dataset.close();
      await this.#change(async () => {
        await this.#refuse(name, replace);
        await putInPlace(temporary, this.#root, name);
        await cache.settle();
      });
      return summaryOf(dataset);
    } catch (error) {
      await (isThere(join(this.#root, name)) ? cache.discard() : cache.clear());
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
      throw new ServiceError('storage_full', 'the data set does not fit on the disk', { dataset: name });
    } finally {
      this.#uploading.delete(name);
      await rm(temporary, { recursive: true, force: true });
      await release();
    }
  }

  /** @throws ServiceError `dataset_not_found`, `dataset_in_use`; `invalid_field` for a built-in one */
  async remove(name: string): Promise<void> {
    await this.#change(async () => {
      if (!isThere(datasetFolder(this.#options.dataDir, name))) {
        refuseBuiltIn(name);
        throw new ServiceError('dataset_not_found', `no data set ${JSON.stringify(name)}`, { field: 'name' });
      }
      await this.#refuse(name, true);
      this.#refuseUploading(name);
      const release = await this.#lock(name);
      try {
        const away = join(this.#root, temporaryName());
        await rename(datasetFolder(this.#options.dataDir, name), away);
        await syncFolder(this.#root);
        await rm(away, { recursive: true, force: true });
        await new DatasetCache(this.#options.dataDir, name).clear();
      } finally {
        await release();
      }
    });
  }

  async #kindOf(name: string): Promise<Pick<DatasetEntry, 'kind' | 'error'>> {
    const folder = datasetFolder(this.#options.dataDir, name);
    if (Object.hasOwn(DATASETS, name) && !existsSync(folder)) {
      return { kind: null, error: `not fetched yet: npm run dataset -- ${name}` };
    }
    try {
      return { kind: (await recognise(folder)).kind, error: null };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return { kind: null, error: error.message };
    }
  }

  async #refuse(name: string, replace: boolean): Promise<void> {
    refuseBuiltIn(name);
    if (!isThere(datasetFolder(this.#options.dataDir, name))) return;
    if (!replace) {
      const detail = `name: expected one that is free, or replace=true, got ${JSON.stringify(name)}`;
      throw new ServiceError('dataset_exists', detail, {
        field: 'name',
        expected: 'a name that is free',
        actual: name,
      });
    }
    const job = await this.#options.usedBy(name);
    if (job === null) return;
    throw new ServiceError('dataset_in_use', `expected no job that uses data set ${JSON.stringify(name)}, got ${job}`, {
      field: 'name',
      job,
    });
  }

  /** Two uploads of one name would use and remove each other's decoded images. */
  #refuseUploading(name: string): void {
    if (this.#uploading.has(name)) throw uploading(name);
  }

  /** The same among all processes over the folder. */
  async #lock(name: string): Promise<() => Promise<void>> {
    if (this.#options.lock === undefined) return async () => undefined;
    const release = await this.#options.lock(name);
    if (release === null) throw uploading(name);
    return release;
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(change);
    this.#changing = done.catch(() => undefined);
    return done;
  }
}

export function summaryOf({
  name,
  kind,
  inputShape,
  labels,
  train,
  validation,
  test,
  skipped,
}: OpenDataset): DatasetSummary {
  const examples = { train: train.size, validation: validation.size, test: test.size };
  return { name, kind, input_shape: inputShape, labels, examples, skipped };
}

function uploading(name: string): ServiceError {
  const expected = `no other upload of data set ${JSON.stringify(name)}`;
  return new ServiceError('dataset_in_use', `expected ${expected}, got one that runs`, { field: 'name', expected });
}

function refuseBuiltIn(name: string): void {
  if (!Object.hasOwn(DATASETS, name)) return;
  const expected = 'a name that is not built in';
  throw new ServiceError('invalid_field', `name: expected ${expected}, got ${JSON.stringify(name)}`, {
    field: 'name',
    expected,
    actual: name,
  });
}

/** The new folder under the name; what was there has another name for the moment between, which {@link putBack} knows. */
async function putInPlace(from: string, root: string, name: string): Promise<void> {
  const [folder, old] = [join(root, name), join(root, `${REPLACED}${name}`)];
  if (isThere(folder)) {
    // Left over where it could not be removed.
    await rm(old, { recursive: true, force: true });
    await rename(folder, old);
  }
  try {
    await rename(from, folder);
  } catch (error) {
    if (isThere(old)) await rename(old, folder);
    throw error;
  }
  await syncFolder(root);
  await rm(old, { recursive: true, force: true });
}

function putBack(root: string): void {
  if (!existsSync(root)) return;
  for (const entry of readdirSync(root).filter((found) => found.startsWith(REPLACED))) {
    const [old, folder] = [join(root, entry), join(root, entry.slice(REPLACED.length))];
    if (isThere(folder)) rmSync(old, { recursive: true, force: true });
    else renameSync(old, folder);
  }
}

/** Also a link to nothing. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
