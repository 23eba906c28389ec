import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { Weights } from '../model/graph.js';
import { parseManifest } from '../model/manifest.js';
import { parseWeightsManifest } from '../model/weights-manifest.js';
import type { NativeSource } from './native-library.js';

/** Weights as the native side takes them: stretches of a file that it maps, or floats in memory. */
export interface NativeWeights {
  /** Empty where the floats are in memory. */
  path: string;
  get(name: string): NativeSource | undefined;
}

/** Files whose digest was found right, by what changes when a file does. */
const verified = new Set<string>();

/**
 * The stretches of the one float32 file of a version's folder; null where the folder holds its weights in any other
 * way. The file's digest is checked the first time that it is met.
 */
export async function mappedWeights(folder: string): Promise<NativeWeights | null> {
  if (folder === '' || process.platform === 'win32') return null;
  try {
    const [model, manifest] = await Promise.all(
      ['model.json', 'manifest.json'].map((file) => readFile(join(folder, file), 'utf8')),
    );
    const groups = parseWeightsManifest((JSON.parse(model) as Record<string, unknown>).weightsManifest);
    if (groups?.length !== 1 || groups[0].paths.length !== 1) return null;
    const [{ paths, weights }] = groups;
    if (weights.some((w) => w.dtype !== 'float32' || w.quantization !== null)) return null;
    const [root, path] = await Promise.all([realpath(folder), realpath(join(folder, paths[0]))]);
    const files: Record<string, string | undefined> = parseManifest(manifest).files;
    const digest = files[paths[0]];
    const size = weights.reduce((sum, w) => sum + w.bytes, 0);
    if (!path.startsWith(root + sep) || digest === undefined || files['model.json'] !== sha256(model)) return null;
    if (!(await isFile(path, size, digest))) return null;
    const stretches = new Map<string, [number, number]>();
    let offset = 0;
    for (const { name, bytes } of weights) {
      stretches.set(name, [offset, bytes / 4]);
      offset += bytes;
    }
    return { path, get: (name) => stretches.get(name) };
  } catch {
    // Whatever is wrong with the folder, readWeights() says it in the words of the model.
    return null;
  }
}

export function heldWeights(weights: Weights): NativeWeights {
  return { path: '', get: (name) => weights.get(name)?.data };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function isFile(path: string, size: number, digest: string): Promise<boolean> {
  const { size: actual, ino, mtimeMs } = await stat(path);
  if (actual !== size) return false;
  const key = `${path}\n${ino}\n${mtimeMs}\n${digest}`;
  if (verified.has(key)) return true;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  if (hash.digest('hex') !== digest) return false;
  verified.add(key);
  return true;
}
