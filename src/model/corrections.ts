import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkDigest } from './digest.js';
import { badModel } from './fields.js';
import type { BiasCorrectionIndex, Manifest } from './manifest.js';
import { parseManifest } from './manifest.js';

/** By layer: what is taken from the bias of each output channel. */
export type LayerCorrections = ReadonlyMap<string, Float32Array>;
/** By precision key; the layers are the same ones, in the same order, at each. */
export type BiasCorrections = ReadonlyMap<string, LayerCorrections>;

/** Beside `weights.bin`: for each precision a block of float32, little-endian, layer after layer. */
export const CORRECTIONS_FILE = 'corrections.bin';

/**
 * The bytes of `corrections.bin` and the entry of the manifest that says where in it things are; null where there are none.
 * @throws ServiceError `bad_model` where precisions differ in their layers or a number is not finite
 */
export function encodeCorrections(corrections: BiasCorrections): { index: BiasCorrectionIndex; bytes: Buffer } | null {
  const [first] = corrections.values();
  if (first === undefined) return null;
  const layers = [...first].map(([name, { length: channels }]) => ({ name, channels }));
  const index: BiasCorrectionIndex = { layers, offsets: {} };
  const size = blockBytes(index);
  const bytes = Buffer.alloc(size * corrections.size);
  let at = 0;
  for (const [key, block] of corrections) {
    index.offsets[key] = at;
    if (block.size !== layers.length) throw badModel(`bias corrections: ${key}`, `${layers.length} layers`, block.size);
    for (const { name, channels } of layers) {
      const values = block.get(name);
      if (values?.length !== channels) {
        throw badModel(`bias corrections: ${key}: ${name}`, `${channels} numbers`, values?.length);
      }
      for (const value of values) at = bytes.writeFloatLE(value, at);
    }
  }
  for (const key of corrections.keys()) decodeCorrections(index, bytes, key);
  return { index, bytes };
}

/** Bytes of a whole `corrections.bin`. */
export function correctionBytes(index: BiasCorrectionIndex): number {
  return blockBytes(index) * Object.keys(index.offsets).length;
}

function blockBytes({ layers }: BiasCorrectionIndex): number {
  return 4 * layers.reduce((sum, { channels }) => sum + channels, 0);
}

/**
 * Corrections of one precision.
 * @throws ServiceError `bad_model` where the bytes are too few or hold a number that is not finite
 */
export function decodeCorrections(index: BiasCorrectionIndex, bytes: Buffer, key: string): LayerCorrections {
  const expected = correctionBytes(index);
  if (bytes.length !== expected) throw badModel(CORRECTIONS_FILE, `${expected} bytes`, bytes.length);
  if (!Object.hasOwn(index.offsets, key)) throw badModel(CORRECTIONS_FILE, `a block of precision ${key}`, undefined);
  let at = index.offsets[key];
  const corrections = new Map<string, Float32Array>();
  for (const { name, channels } of index.layers) {
    const values = Float32Array.from({ length: channels }, (_, i) => bytes.readFloatLE(at + 4 * i));
    const wrong = values.findIndex((v) => !Number.isFinite(v));
    if (wrong >= 0)
      throw badModel(`${CORRECTIONS_FILE}: ${key}: ${name} at ${wrong}`, 'a finite number', values[wrong]);
    corrections.set(name, values);
    at += 4 * channels;
  }
  return corrections;
}

/**
 * Corrections of a precision from a version's folder, its file held against the digest in its manifest.
 * @throws ServiceError `bad_model`
 */
export async function readCorrections(folder: string, key: string): Promise<LayerCorrections> {
  const manifest = parseManifest((await readPart(folder, 'manifest.json')).toString());
  const { bias_corrections: index } = manifest.quantizer;
  if (index === undefined) throw badModel('manifest.json: quantizer: bias_corrections', 'an object', undefined);
  return decodeCorrections(index, await readCorrectionsFile(folder, manifest), key);
}

/** The whole file, checked against its digest. */
export async function readCorrectionsFile(folder: string, { files }: Pick<Manifest, 'files'>): Promise<Buffer> {
  const bytes = await readPart(folder, CORRECTIONS_FILE);
  checkDigest(CORRECTIONS_FILE, bytes, files[CORRECTIONS_FILE] as string);
  return bytes;
}

async function readPart(folder: string, file: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, file));
  } catch (error) {
    throw badModel(file, 'a file that can be read', (error as NodeJS.ErrnoException).code);
  }
}
