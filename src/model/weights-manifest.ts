import { badModel, Fields } from './fields.js';
import { elements, MAX_ELEMENTS } from './shapes.js';

/** `weightsManifest` of a TF.js `model.json`: groups of weights, each group over one file or more. */
export interface WeightGroup {
  paths: string[];
  weights: WeightEntry[];
}

export interface WeightEntry {
  name: string;
  shape: number[];
  dtype: string;
  /** How the file holds it where that is not `dtype` itself. */
  quantization: Quantization | null;
  /** In the file. */
  bytes: number;
}

/** float16: half floats; uint8 and uint16: value = code·scale + min. */
export type Quantization = { dtype: 'float16' } | { dtype: 'uint8' | 'uint16'; scale: number; min: number };

const BYTES: Record<string, number> = {
  float32: 4,
  int32: 4,
  uint32: 4,
  float16: 2,
  uint16: 2,
  uint8: 1,
  bool: 1,
  complex64: 8,
};

/** Checks a `weightsManifest`; null where a document has none. */
export function parseWeightsManifest(value: unknown): WeightGroup[] | null {
  if (value === undefined || value === null) return null;
  const where = 'model.json: weightsManifest';
  if (!Array.isArray(value)) throw badModel(where, 'an array', value);
  const seen = new Set<string>();
  const files = new Set<string>();
  return value.map((item) => {
    const group = new Fields(item, where);
    const paths = group.list('paths').map((path) => checkPath(path, `${where}: paths`));
    const weights = group.list('weights').map((entry) => parseEntry(new Fields(entry, `${where}: weights`)));
    for (const { name } of weights) {
      if (seen.has(name)) throw badModel(where, 'names that differ', name);
      seen.add(name);
    }
    // Each naming of a file would be held in memory once more.
    for (const path of paths) {
      if (files.has(path)) throw badModel(`${where}: paths`, 'each file once', path);
      files.add(path);
    }
    return { paths, weights };
  });
}

/** A shard lies in the folder of `model.json` or below it. */
function checkPath(path: unknown, where: string): string {
  const plain =
    typeof path === 'string' &&
    /^[^/\\\0]+(\/[^/\\\0]+)*$/.test(path) &&
    !path.split('/').some((part) => part === '..' || part === '.');
  if (!plain) throw badModel(where, 'a file in the folder of model.json', path);
  return path;
}

function parseEntry(fields: Fields): WeightEntry {
  const name = fields.string('name');
  if (name.length > 1024) throw fields.error('name', 'at most 1024 characters');
  const where = `weight "${name.slice(0, 80)}"`;
  const shape = fields.list('shape').map((size) => {
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw badModel(where, 'a shape', fields.get('shape'));
    return size as number;
  });
  const count = elements(shape);
  if (!(count <= MAX_ELEMENTS)) throw badModel(where, `at most ${MAX_ELEMENTS} numbers`, shape);
  const dtype = fields.string('dtype');
  const quantization = fields.get('quantization') === undefined ? null : parseQuantization(fields, where);
  const stored = quantization?.dtype ?? dtype;
  if (!Object.hasOwn(BYTES, stored)) throw badModel(where, `dtype ${Object.keys(BYTES).join(', ')}`, stored);
  return { name, shape, dtype, quantization, bytes: count * BYTES[stored] };
}

function parseQuantization(entry: Fields, where: string): Quantization {
  const fields = new Fields(entry.get('quantization'), `${where}: quantization`);
  const dtype = fields.choice('dtype', ['float16', 'uint8', 'uint16'] as const);
  if (dtype === 'float16') return { dtype };
  return { dtype, scale: fields.number('scale'), min: fields.number('min') };
}
