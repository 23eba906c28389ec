import { ServiceError } from '../errors.js';
import { badModel } from './fields.js';
import { sameShape } from './shapes.js';
import type { WeightEntry } from './weights-manifest.js';

/**
 * Finds the weights of layers among the names of a weights manifest, which differ by who wrote it: `conv/kernel` (TF.js
 * Layers), `model/conv/kernel:0` or `conv/kernel_1:0` (Keras). Without a manifest the names are those of TF.js Layers.
 */
export class WeightNames {
  /** By name of the weight: the shape the graph takes. */
  readonly shapes = new Map<string, number[]>();
  /** By name of the weight: the shape that TF.js Layers stores, where it is another one. */
  readonly stored = new Map<string, number[]>();
  /** By `layer/field`, as the manifest has it or as a suffix of it. */
  private readonly exact = new Map<string, WeightEntry>();
  private readonly known: boolean;
  private readonly suffixes = new Map<string, Set<WeightEntry>>();
  private readonly owners = new Set<string>();

  constructor(
    entries: WeightEntry[] | undefined,
    private readonly layers: ReadonlyMap<string, { name: string; ownName: string }>,
  ) {
    this.known = entries !== undefined;
    for (const { name, ownName } of layers.values()) this.owners.add(name).add(ownName);
    for (const entry of entries ?? []) this.index(entry);
  }
  /**
   * @param fields names that writers use for the weight, the one of TF.js Layers first
   * @param shape the graph's
   * @param stored the shape in TF.js Layers files, where it differs; the manifest may hold either
   * @returns name of the weight
   */
  claim(layer: string, fields: string[], shape: number[], stored: number[] = shape): string {
    const name = this.known ? this.find(layer, fields, shape, stored) : `${layer}/${fields[0]}`;
    if (this.shapes.has(name)) throw badModel('model.json: weightsManifest', 'one layer for each weight', name);
    this.shapes.set(name, shape);
    if (stored !== shape) this.stored.set(name, stored);
    return name;
  }

  private find(layer: string, fields: string[], shape: number[], stored: number[]): string {
    const where = `weight "${layer}/${fields[0]}"`;
    // Writers give the weights of a model inside a model with its name before theirs, or without.
    const owners = new Set([layer, this.layers.get(layer)?.ownName ?? layer]);
    const keysOf = (owner: string) => fields.map((field) => `${owner}/${field}`);
    let entry: WeightEntry | undefined;
    for (const owner of owners) entry ??= keysOf(owner).flatMap((key) => this.exact.get(key) ?? [])[0];
    for (const owner of entry === undefined ? owners : []) {
      const found = new Set(keysOf(owner).flatMap((key) => [...(this.suffixes.get(key) ?? [])]));
      if (found.size > 1) {
        const names = [...found].slice(0, 4).map((e) => e.name);
        throw new ServiceError('bad_model', `${where}: expected one entry in weightsManifest, got ${names.join(', ')}`);
      }
      [entry] = found;
      if (entry !== undefined) break;
    }
    if (entry === undefined) throw badModel(where, 'an entry in weightsManifest', undefined);
    if (entry.dtype !== 'float32') throw badModel(`weight "${entry.name}"`, 'dtype float32', entry.dtype);
    if (!sameShape(entry.shape, shape) && !sameShape(entry.shape, stored)) {
      throw badModel(`weight "${entry.name}"`, `shape [${stored.join(', ')}]`, entry.shape);
    }
    return entry.name;
  }

  private index(entry: WeightEntry): void {
    const name = entry.name.replace(/:\d+$/, '');
    const path = name.split('/');
    this.exact.set(name, entry);
    // What bears the whole name of another layer belongs to that layer alone.
    const owner = path.slice(0, -1).join('/');
    if (this.owners.has(owner)) {
      this.suffix(`${owner}/${path[path.length - 1].replace(/_\d+$/, '')}`, entry);
      return;
    }
    // Eight deep is more than any writer nests; it bounds the index.
    for (let from = Math.max(0, path.length - 8); from < path.length - 1; from++) {
      const key = path.slice(from).join('/');
      this.suffix(key, entry);
      this.suffix(key.replace(/_\d+$/, ''), entry);
    }
  }

  private suffix(key: string, entry: WeightEntry): void {
    const set = this.suffixes.get(key) ?? new Set();
    this.suffixes.set(key, set.add(entry));
  }
}
