import { mkdir, realpath, rm } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { ServiceError } from '../errors.js';
import { removeLeftoversIn, temporaryName } from '../model/temporary.js';
import type { Version } from '../model/version.js';
import type { EnergyTable } from '../quantize/energy.js';
import { unpackTar } from '../tar.js';
import type { ImportSummary } from './import.js';
import { type ImportRequest, invalid } from './request.js';
import { type ImportThread, startImport } from './thread.js';

/** What an import needs of the store; the thread has one of its own. */
export interface ImportStore {
  refresh(model: string): void;
  get(model: string, version?: number): Promise<Version>;
}

export interface ImporterOptions {
  modelsDir: string;
  dataDir: string;
  store: ImportStore;
  energyTable: EnergyTable;
  maxImagePixels: number;
  /** Bytes of a model's files together, unpacked, and of its weights as float32. */
  maxModelBytes: number;
  heapLimitMb?: number;
}

export interface Imported {
  version: Version;
  summary: ImportSummary;
}

/** Where models lie that are imported by their path, below the data folder. */
export const IMPORTS_FOLDER = 'imports';
/** Shards of 4 MiB, and room for what else lies beside them. */
const MAX_FILES = 10_000;
const HEAP_LIMIT_MB = 1024;
const RETRY_S = 5;
/** Archives that arrive at the same time; each may take `maxModelBytes` on the disk. */
const MOST_UPLOADS = 4;

/**
 * Imports models, one at a time, each on a thread of its own: the event loop only hands bytes on. Archives are unpacked
 * before it is their turn, so that a slow one holds up nobody.
 */
export class Importer {
  readonly #options: ImporterOptions;
  readonly #root: string;
  #busy = false;
  #uploads = 0;
  #thread: ImportThread | null = null;

  /** Removes what a killed process left behind. */
  constructor(options: ImporterOptions) {
    this.#options = options;
    this.#root = resolve(options.dataDir, IMPORTS_FOLDER);
    removeLeftoversIn(this.#root);
  }

  /**
   * @param path of a `model.json`, or of its folder, below `imports` of the data folder
   * @param calibration folder of images below the data folder
   * @throws ServiceError invalid_field, bad_model, unsupported_layer, too_many_requests
   */
  async fromFolder(path: string, calibration: string | null, request: ImportRequest): Promise<Imported> {
    return this.#alone(async () => {
      const images = await this.#calibration(calibration);
      return this.#run(await within(this.#root, path, 'path'), images, request);
    });
  }

  /**
   * @param archive tar, plain or gzip, of `model.json` and its shards; read as it arrives
   * @throws ServiceError bad_archive, body_too_large, and as {@link fromFolder}
   */
  async fromArchive(archive: Readable, calibration: string | null, request: ImportRequest): Promise<Imported> {
    if (this.#uploads === MOST_UPLOADS) throw busy(`at most ${MOST_UPLOADS} uploads at a time, as many are running`);
    this.#uploads++;
    const folder = join(this.#root, temporaryName());
    const { maxModelBytes } = this.#options;
    try {
      const images = await this.#calibration(calibration);
      await mkdir(folder, { recursive: true });
      await unpackTar(archive, folder, { entries: MAX_FILES, fileBytes: maxModelBytes, totalBytes: maxModelBytes });
      return await this.#alone(() => this.#run(folder, images, request));
    } catch (error) {
      throw withoutRoom(error);
    } finally {
      this.#uploads--;
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Ends an import that runs; what it has not published is gone. */
  close(): void {
    this.#thread?.terminate();
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) throw busy('one import at a time, one is running');
    this.#busy = true;
    try {
      return await work();
    } catch (error) {
      throw withoutRoom(error);
    } finally {
      this.#busy = false;
    }
  }

  async #calibration(folder: string | null): Promise<string | null> {
    return folder === null ? null : within(resolve(this.#options.dataDir), folder, 'calibration');
  }

  async #run(path: string, calibration: string | null, request: ImportRequest): Promise<Imported> {
    const { store, heapLimitMb = HEAP_LIMIT_MB, ...options } = this.#options;
    const { modelsDir, dataDir, energyTable, maxImagePixels, maxModelBytes } = options;
    const input = { path, calibration, request, modelsDir, dataDir, energyTable, maxImagePixels, maxModelBytes };
    this.#thread = startImport(input, heapLimitMb);
    try {
      const { version, summary } = await this.#thread.answer;
      store.refresh(request.model);
      return { version: await store.get(request.model, version), summary };
    } finally {
      this.#thread.terminate();
      this.#thread = null;
    }
  }
}

function busy(expected: string): ServiceError {
  return new ServiceError('too_many_requests', `expected ${expected}`, { retry_after_s: RETRY_S });
}

function withoutRoom(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new ServiceError('storage_full', 'the model does not fit on the disk');
}

/** The real path of something below a folder. No name of it begins with a dot, and no link leads out. */
async function within(root: string, path: string, field: string): Promise<string> {
  const parts = path.split('/');
  const plain = !/[\\\0]/.test(path) && parts.every((part) => part !== '' && !part.startsWith('.'));
  if (!plain) throw invalid(field, 'a relative path of plain names', path);
  const [base, found] = await Promise.all([realpath(root), realpath(join(root, ...parts))]).catch(() => []);
  if (base === undefined || found === undefined) throw invalid(field, 'a file or folder that is there', path);
  if (!found.startsWith(base + sep)) throw invalid(field, 'a path that stays in its folder', path);
  return found;
}
