import { readFile, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { ServiceError } from '../errors.js';
import { checkDigest } from './digest.js';
import { badModel } from './fields.js';
import { fromFloat16 } from './float16.js';
import type { FloatTensor, Weights } from './graph.js';
import { importModel } from './import.js';
import { type Manifest, parseManifest } from './manifest.js';
import { elements } from './shapes.js';
import { parseWeightsManifest, type Quantization, type WeightEntry } from './weights-manifest.js';

/** `weightsManifest` as {@link encodeWeights} writes it: one group, one file. */
export type WrittenManifest = { paths: string[]; weights: { name: string; shape: number[]; dtype: 'float32' }[] }[];

export const WEIGHTS_FILE = 'weights.bin';

/**
 * The weights that the graph of a folder's `model.json` uses, by the names of that graph. In a version's folder the files
 * must be those that `manifest.json` names by digest.
 *
 * @throws ServiceError `bad_model`, `unsupported_layer`
 */
export async function readWeights(folder: string): Promise<Weights> {
  const [model, text] = await Promise.all([
    readNamed(folder, 'model.json'),
    readOptional(join(folder, 'manifest.json')),
  ]);
  const files: Partial<Manifest['files']> = text === null ? {} : parseManifest(text.toString()).files;
  if (files['model.json'] !== undefined) checkDigest('model.json', model, files['model.json']);
  return decodeWeights(parseDocument(model), async (path) => {
    const bytes = await readNamed(folder, path);
    if (path === WEIGHTS_FILE && files[path] !== undefined) checkDigest(path, bytes, files[path]);
    return bytes;
  });
}

/** The JSON of a `model.json`. */
export function parseDocument(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch (error) {
    throw new ServiceError('bad_model', `model.json: expected JSON, got ${(error as Error).message}`);
  }
}

/**
 * Decodes the weights that a TF.js Layers document names: float32, or quantised to float16, uint8 or uint16. Tensors are
 * views of the shard's memory where it is float32, so they share it.
 *
 * @param shard gives the bytes of a path of the weights manifest
 * @throws ServiceError `bad_model` for a wrong number of bytes or a weight that is not finite; and as `importGraph` does
 */
export async function decodeWeights(document: unknown, shard: (path: string) => Promise<Uint8Array>): Promise<Weights> {
  const { weightShapes } = importModel(document);
  const groups = parseWeightsManifest((document as Record<string, unknown>).weightsManifest) ?? [];
  const weights: Weights = new Map();
  for (const { paths, weights: entries } of groups) {
    const expected = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    const bytes = await joined(paths, expected, shard);
    let offset = 0;
    for (const entry of entries) {
      const shape = weightShapes.get(entry.name);
      if (shape) weights.set(entry.name, decode(entry, shape, bytes.subarray(offset, offset + entry.bytes)));
      offset += entry.bytes;
    }
  }
  for (const name of weightShapes.keys()) {
    if (!weights.has(name)) throw badModel(`weight "${name}"`, 'an entry in weightsManifest', undefined);
  }
  return weights;
}

/**
 * The bytes of `weights.bin` and the `weightsManifest` that describes them.
 * @throws ServiceError `bad_model` for a tensor whose shape and data disagree or whose numbers are not finite
 */
export function encodeWeights(weights: Weights): { manifest: WrittenManifest; bytes: Buffer } {
  const total = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const bytes = Buffer.allocUnsafe(total);
  const entries: WrittenManifest[0]['weights'] = [];
  let offset = 0;
  for (const [name, { shape, data }] of weights) {
    if (data.length !== elements(shape)) throw badModel(`weight "${name}"`, `${elements(shape)} numbers`, data.length);
    checkFinite(name, data);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
    entries.push({ name, shape: [...shape], dtype: 'float32' });
  }
  return { manifest: [{ paths: [WEIGHTS_FILE], weights: entries }], bytes };
}

/** The shards of a group, one after another: a weight may begin in one and end in the next. */
async function joined(
  paths: string[],
  expected: number,
  shard: (path: string) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const shards: Uint8Array[] = [];
  let total = 0;
  for (const path of paths) {
    const bytes = await shard(path);
    shards.push(bytes);
    total += bytes.length;
    // At the first that is too much: what follows is not read.
    if (total > expected) throw wrongLength(paths, expected, total);
  }
  if (total < expected) throw wrongLength(paths, expected, total);
  return shards.length === 1 ? shards[0] : Buffer.concat(shards, total);
}

function wrongLength(paths: string[], expected: number, actual: number): ServiceError {
  const where = `weights file ${paths.slice(0, 4).join(', ')}`;
  return new ServiceError('bad_model', `${where}: expected ${expected} bytes, got ${actual}`, { expected, actual });
}

/** Files are little-endian, and so is every machine that Node runs on here. */
function decode(entry: WeightEntry, shape: number[], bytes: Uint8Array): FloatTensor {
  const { name, quantization } = entry;
  const data = quantization ? dequantize(quantization, bytes) : new Float32Array(...view(bytes, 4));
  checkFinite(name, data);
  return { shape: [...shape], data };
}

function dequantize(quantization: Quantization, bytes: Uint8Array): Float32Array {
  const codes = quantization.dtype === 'uint8' ? bytes : new Uint16Array(...view(bytes, 2));
  const data = new Float32Array(codes.length);
  if (quantization.dtype === 'float16') {
    for (let i = 0; i < data.length; i++) data[i] = fromFloat16(codes[i]);
  } else {
    const { scale, min } = quantization;
    for (let i = 0; i < data.length; i++) data[i] = codes[i] * scale + min;
  }
  return data;
}

/** Arguments of a typed array over the bytes: their own memory where it is aligned, else a copy. */
function view(bytes: Uint8Array, size: number): [ArrayBufferLike, number, number] {
  const aligned = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  return [aligned.buffer, aligned.byteOffset, bytes.length / size];
}

function checkFinite(name: string, data: Float32Array): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) throw badModel(`weight "${name}" at ${i}`, 'a finite number', data[i]);
  }
}

/** A file of the folder, of at most `largest` bytes; a link that leads out of the folder is no file of it. */
export async function readNamed(folder: string, path: string, largest = Number.POSITIVE_INFINITY): Promise<Buffer> {
  try {
    const [root, file] = await Promise.all([realpath(folder), realpath(join(folder, path))]);
    if (!file.startsWith(root + sep)) throw badModel(path, 'a file in the folder of model.json', path);
    const found = await stat(file);
    // A pipe or device could keep its reader waiting for ever.
    if (!found.isFile()) throw badModel(path, 'a file', 'something else');
    if (found.size > largest) throw badModel(path, `at most ${largest} bytes`, found.size);
    return await readFile(file);
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw badModel(path, 'a file that can be read', (error as NodeJS.ErrnoException).code);
  }
}

async function readOptional(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw badModel('manifest.json', 'a file that can be read', code);
  }
}
