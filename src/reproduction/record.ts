import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { makeFolder, replaceFile } from '../model/durable.js';
import type { BaseVersion, Run, Study } from './study.js';

/** What is measured, in the order of the tables; the first is float. */
export const PRECISIONS = ['32x32', '8x8', '6x6', '5x5', '4x4', '3x3', '2x2', '4x8', '3x8', '2x8'] as const;

/** How a version's weights and activations are quantised: as serving does, or per tensor over the whole range. */
export type QuantizerName = 'ours' | 'min-max';

/** What a finished run gave. */
export interface Outcome {
  version: BaseVersion;
  /** By quantiser and precision key: share of the test images that was classified rightly. */
  accuracies: Record<QuantizerName, Record<string, number>>;
  /** Test images that the accuracies were measured on. */
  images: number;
  /** Training images used. */
  examples: number;
  backend: string;
  /** Seconds of training. */
  duration_s: number;
  history: Record<string, number>[];
}

/** A finished run, as its file keeps it. */
export interface RunRecord extends Outcome {
  format: 'bitdial-reproduction/1';
  /** ISO 8601, when it was finished. */
  created: string;
  dataset: string;
  net: string;
  width: number;
  mode: Study['mode'];
  seed: number;
  method: string;
  /** Of its own. */
  epochs: number;
  /** Of the base before it; 0 where there is none. */
  base_epochs: number;
  /** At most so many test images; null: all. */
  test_limit: number | null;
  /** What it went on from; null from scratch. */
  base: BaseVersion | null;
  /** Of `POST /admin/train`; null for a base that was given. */
  body: Record<string, unknown> | null;
  /** Digest of the version that a given base is a copy of; null for what was trained. */
  given: string | null;
  /** Trains it by itself; null for a base that was given. */
  command: string | null;
  /** The whole reproduction. */
  reproduction: string;
  /** Of this project. */
  commit: string | null;
}

/** The records of a study's folder: one file a run, `<method>.seed<N>.json`, there only when it is whole. */
export class Records {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  path({ method, seed }: Pick<Run, 'method' | 'seed'>): string {
    return join(this.#folder, `${method}.seed${seed}.json`);
  }

  /**
   * The record of a run; undefined where it is not finished.
   * @throws Error where the file is of a run of other settings, which must not be mixed with these
   */
  async find(run: Run, base: BaseVersion | null, testLimit: number | null): Promise<RunRecord | undefined> {
    const path = this.path(run);
    const record = await read(path);
    if (record === undefined) return undefined;
    const settings = (
      { body, given }: Pick<RunRecord, 'body' | 'given'>,
      from: BaseVersion | null | undefined,
      test_limit: number | null,
    ) => ({
      body,
      given: given ?? null,
      base: from?.digest ?? null,
      test_limit,
    });
    const expected = settings(run, base, testLimit);
    const actual = settings(record, record.base, record.test_limit);
    if (!isDeepStrictEqual(actual, expected)) {
      throw new Error(
        `${path}: expected the record of ${JSON.stringify(expected)}, got that of ${JSON.stringify(actual)}; ` +
          'remove it, or take another folder by --out',
      );
    }
    return record;
  }

  async write(record: RunRecord): Promise<void> {
    await makeFolder(this.#folder);
    await replaceFile(this.path(record), `${JSON.stringify(record, null, 2)}\n`);
  }

  /** All that are there, by file name; none where there is no folder. */
  async all(): Promise<RunRecord[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const files = names.filter((name) => /^[^.].*\.seed\d+\.json$/.test(name)).sort();
    const records = await Promise.all(files.map((name) => read(join(this.#folder, name))));
    return records.filter((record) => record !== undefined);
  }
}

async function read(path: string): Promise<RunRecord | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let record: RunRecord;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path}: expected a record of a run as JSON, got ${(error as Error).message}`);
  }
  if (record?.format !== 'bitdial-reproduction/1') {
    throw new Error(`${path}: expected format bitdial-reproduction/1, got ${JSON.stringify(record?.format)}`);
  }
  return record;
}
