import { readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ServiceError } from '../errors.js';
import { Catalog, type ModelState } from './catalog.js';
import { readCorrections } from './corrections.js';
import { claimName, makeFolder, replaceFile } from './durable.js';
import { describe } from './fields.js';
import type { Weights } from './graph.js';
import { effectiveLabels, labelFault, labelledVersion, removeLabel, writeLabel } from './labels.js';
import { MODEL_NAME } from './manifest-check.js';
import { removeLeftovers } from './temporary.js';
import type { ModelEntry, NewVersion, StoreLogger, Version, VersionSource } from './version.js';
import { type PreparedVersion, prepareVersion, sameContent, writeVersionFolder } from './version-folder.js';
import { readWeights } from './weights.js';

export type { ModelEntry, NewVersion, StoreLogger, Version, VersionSource, Weights };

export interface StoreOptions {
  /** Shipped versions. */
  modelsDir: string;
  /** `<dataDir>/models` holds the versions that were made here; they go before shipped ones of the same number. */
  dataDir?: string;
  /** `models`: works on `modelsDir` alone and writes there, to make versions that are shipped. Default `data`. */
  writeTo?: 'models' | 'data';
  logger?: StoreLogger;
}

/** A model or version that is missed is looked for again on disk, but not more often than this. */
const MISS_MS = 50;
const ONCE_ENDING = '.once';

/**
 * The versions of all models, as immutable folders. Under each root:
 *
 *     <model>/<digest>/{manifest.json,model.json,weights.bin}   digest: SHA-256 of manifest.json, which has the others'
 *     <model>/<digest>/corrections.bin                          where biases are corrected at some precision
 *     <model>/<N>.version                                       {"digest"}; claimed by a hard link, so it is whole and once
 *     <model>/<name>.once                                       {"digest"}; the publication that was to be made once
 *     <model>/current.json                                      {"version": N}; moved by a rename
 *     <model>/<label>.label                                     the same for a label; null where a shipped one is taken away
 *
 * Any number of processes may read and publish at once. What another one changes is seen within half a second.
 */
export class ModelStore {
  private readonly catalog: Catalog;
  private readonly writeRoot: string;

  /** Opens the store, and removes what killed writers left behind. */
  constructor({ modelsDir, dataDir, writeTo = 'data', logger }: StoreOptions) {
    const roots = [resolve(modelsDir)];
    if (writeTo === 'data') {
      if (dataDir === undefined) throw new TypeError('ModelStore: dataDir: expected a folder, got nothing');
      roots.unshift(resolve(dataDir, 'models'));
    }
    this.writeRoot = roots[0];
    this.catalog = new Catalog(roots, logger ?? { warn: () => undefined });
    removeLeftovers(this.writeRoot);
  }

  /** Every model with a version that can be read, by name. Versions that cannot be read are left out with a warning. */
  async models(): Promise<ModelEntry[]> {
    const names = [...(await this.catalog.names())].sort();
    const entries = await Promise.all(
      names.map(async (name) => {
        const state = await this.catalog.find(name);
        const versions = [...(state?.versions.values() ?? [])].sort((a, b) => a.number - b.number);
        return {
          name,
          current: state?.current,
          labels: state === undefined ? {} : effectiveLabels(state),
          versions: versions.map((v) => ({ version: v.number, digest: v.digest })),
        };
      }),
    );
    return entries.filter((entry): entry is ModelEntry => entry.current !== undefined);
  }

  /**
   * A version by its number or its label; without either the current one.
   * @throws ServiceError `model_not_found`, `version_not_found`, `label_not_found`
   */
  async get(model: string, which?: number | string): Promise<Version> {
    let state = await this.catalog.find(model);
    let ref = state && find(state, which);
    if (ref === undefined) {
      state = await this.catalog.find(model, MISS_MS);
      ref = state && find(state, which);
    }
    if (state?.current === undefined) throw new ServiceError('model_not_found', `no model ${describe(model)}`);
    if (ref !== undefined) return this.catalog.load(model, ref);
    if (typeof which === 'string') throw labelFault(model, state, which);
    throw new ServiceError('version_not_found', `model "${model}" has no version ${describe(which)}`, { model });
  }

  /** Forgets what was read of a model, so that the next call sees what another thread or process has just published. */
  refresh(model: string): void {
    this.catalog.forget(model);
  }

  /**
   * Writes a version and gives it the next number. Content that is there already (all but the time of its creation) is not
   * written again: its version comes back. When the promise resolves it survives a power cut; a kill before that leaves
   * the store as it was, or with the version and `current` not yet moved.
   *
   * @param once a name under which there is one publication, whoever tries how often, and wherever: a file name's letters.
   *   All get the version of the first of them
   * @throws ServiceError `invalid_field` for the model's name, `bad_model`, `unsupported_layer`
   */
  async publish(version: NewVersion, options: { makeCurrent: boolean; once?: string }): Promise<Version> {
    const { makeCurrent } = options;
    const { model } = version.manifest;
    if (typeof model !== 'string' || !MODEL_NAME.test(model)) {
      const expected = 'a-z, 0-9, ".", "_", "-", beginning with a letter or digit, without "..", at most 64';
      const actual = describe(model);
      throw new ServiceError('invalid_field', `model: expected ${expected}, got ${actual}`, {
        field: 'model',
        expected,
        actual,
      });
    }
    const prepared = prepareVersion(version);
    const same = await this.findSame(model, prepared);
    const number = same ?? (await this.add(model, prepared, options));
    this.catalog.forget(model);
    if (!makeCurrent) return this.get(model, number);
    const state = await this.catalog.find(model);
    // What another process has published and made current in the meantime is not turned back; content that is there
    // already is, where it is asked for by itself and not as the end of a publication that was begun before.
    const isLate = same === undefined || options.once !== undefined;
    if (isLate && state?.pinned && (state.current ?? 0) > number) return this.get(model, number);
    return this.setCurrent(model, number);
  }

  /**
   * Makes a version the current one, durably, for every process that shares the folder.
   * @throws ServiceError `model_not_found`, `version_not_found`
   */
  async setCurrent(model: string, version: number): Promise<Version> {
    const chosen = await this.get(model, version);
    await this.writeCurrent(model, version);
    return chosen;
  }

  /**
   * Puts a label on a version, durably, for every process that shares the folder.
   * @throws ServiceError `invalid_field` for the label, `model_not_found`, `version_not_found`
   */
  async setLabel(model: string, label: string, version: number): Promise<Version> {
    const chosen = await this.get(model, version);
    await writeLabel(join(this.writeRoot, model), label, version);
    this.catalog.forget(model);
    return chosen;
  }

  /**
   * Takes a label away; `stable` is then the current version again.
   * @throws ServiceError `model_not_found`, `label_not_found` where it is not set
   */
  async removeLabel(model: string, label: string): Promise<void> {
    this.catalog.forget(model);
    const state = await this.catalog.find(model);
    if (state?.current === undefined) throw new ServiceError('model_not_found', `no model ${describe(model)}`);
    if (!state.labels.has(label)) {
      const detail = `the label ${describe(label)} of model "${model}" is not set`;
      throw new ServiceError('label_not_found', detail, { field: 'label', actual: describe(label) });
    }
    await removeLabel(join(this.writeRoot, model), state, label);
    this.catalog.forget(model);
  }

  /** What an engine needs of a version; what is read is checked against its digest. */
  source({ graph, manifest, folder }: Version): VersionSource {
    const readers = {
      readWeights: () => readWeights(folder),
      readCorrections: (key: string) => readCorrections(folder, key),
    };
    return { graph, manifest, folder, ...readers };
  }

  private async findSame(model: string, { manifest }: PreparedVersion): Promise<number | undefined> {
    this.catalog.forget(model);
    const state = await this.catalog.find(model);
    for (const ref of state?.versions.values() ?? []) {
      if (sameContent((await this.catalog.load(model, ref)).manifest, manifest)) return ref.number;
    }
    return undefined;
  }

  private async add(
    model: string,
    prepared: PreparedVersion,
    { makeCurrent, once }: { makeCurrent: boolean; once?: string },
  ): Promise<number> {
    const folder = join(this.writeRoot, model);
    await makeFolder(folder);
    if (!makeCurrent) await this.pin(model);
    const written = await writeVersionFolder(folder, prepared);
    const digest = once === undefined ? written : await this.claimOnce(folder, written, once);
    // Before the look at what they stand for: one that is taken after it is met on the way up from here.
    const first = Math.max(0, ...(await this.catalog.numbers(model))) + 1;
    const number = once === undefined ? undefined : await this.numberOf(model, digest);
    if (number !== undefined) return number;
    const claimed = await claimName(folder, `${JSON.stringify({ digest })}\n`, numberFiles(first), async (name) => {
      const text = await readFile(join(folder, name), 'utf8').catch(() => '');
      return text.includes(digest);
    });
    return Number.parseInt(claimed, 10);
  }

  /** The version that a name stands for: the one just written, unless another one was first. */
  private async claimOnce(folder: string, written: string, once: string): Promise<string> {
    const name = `${once}${ONCE_ENDING}`;
    await claimName(folder, `${JSON.stringify({ digest: written })}\n`, [name], async () => true);
    const { digest } = JSON.parse(await readFile(join(folder, name), 'utf8')) as { digest: string };
    if (digest !== written) await rm(join(folder, written), { recursive: true, force: true });
    return digest;
  }

  private async numberOf(model: string, digest: string): Promise<number | undefined> {
    this.catalog.forget(model);
    const state = await this.catalog.find(model);
    return [...(state?.versions.values() ?? [])].find((ref) => ref.digest === digest)?.number;
  }

  /** Where the highest number is current only because nothing says otherwise, a new number must not become it. */
  private async pin(model: string): Promise<void> {
    const state = await this.catalog.find(model);
    if (state?.current !== undefined && !state.pinned) await this.writeCurrent(model, state.current);
  }

  private async writeCurrent(model: string, version: number): Promise<void> {
    const folder = join(this.writeRoot, model);
    await makeFolder(folder);
    await replaceFile(join(folder, 'current.json'), `${JSON.stringify({ version })}\n`);
    this.catalog.forget(model);
  }
}

function find(state: ModelState, which: number | string | undefined) {
  const number = typeof which === 'string' ? labelledVersion(state, which) : (which ?? state.current);
  return number === undefined ? undefined : state.versions.get(number);
}

function* numberFiles(first: number): Generator<string> {
  for (let number = first; ; number++) yield `${number}.version`;
}
