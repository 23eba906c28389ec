/** Folders that hold models, and what TF.js itself makes of their files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { importModelFolder } from '../../src/importing/import.js';
import { type ImportFields, parseImportRequest } from '../../src/importing/request.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';

export const OPTIONS = { energyTable: HOROWITZ_45NM, maxImagePixels: 10_000_000, maxModelBytes: 1_000_000_000 };

export function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-import-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const request = (fields: ImportFields = {}) => parseImportRequest({ model: 'net', ...fields });

/** What an import without images says of a model. */
export async function importedManifest(folder: string, fields: ImportFields) {
  return (await importModelFolder(folder, null, request(fields), OPTIONS)).version.manifest;
}

/** The model of a folder as TF.js Layers loads it, quantised weights and all. */
export async function loadWithTfjs(folder: string): Promise<tfl.LayersModel> {
  const { modelTopology, weightsManifest } = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as {
    modelTopology: object;
    weightsManifest: { paths: string[]; weights: tf.io.WeightsManifestEntry[] }[];
  };
  const files = await Promise.all(
    weightsManifest.flatMap(({ paths }) => paths).map((path) => readFile(join(folder, path))),
  );
  const weightData = Uint8Array.from(Buffer.concat(files)).buffer;
  const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
  return tfl.loadLayersModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}

export async function predictWithTfjs(model: tfl.LayersModel, input: Float32Array): Promise<Float32Array> {
  const shape = (model.inputs[0].shape as (number | null)[]).slice(1) as number[];
  const batch = input.length / shape.reduce((a, b) => a * b, 1);
  return tf.tidy(() => (model.predict(tf.tensor(input, [batch, ...shape])) as tf.Tensor).dataSync()) as Float32Array;
}

/** Root of the mean squared distance over the spread of what is wanted. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  const values = Array.from(want);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = (of: (v: number, i: number) => number) => values.reduce((sum, v, i) => sum + of(v, i) ** 2, 0);
  return Math.sqrt(square((v, i) => got[i] - v) / square((v) => v - mean));
}
