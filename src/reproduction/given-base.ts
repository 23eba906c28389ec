/** A base that was trained before: found, and held against what a study says of itself. */
import { basename, dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Graph } from '../model/graph.js';
import { importGraph } from '../model/import.js';
import { ModelStore } from '../model/store.js';
import type { Version } from '../model/version.js';
import { foldGraph } from '../quantize/fold-graph.js';
import { builtIn } from '../training/architectures/table.js';
import { initialWeights } from '../training/weights.js';
import type { GivenBase, Study } from './study.js';

/** The store with a model's folder, and its version of a number, by default the current one. */
export async function openBase(folder: string, number?: number): Promise<{ store: ModelStore; version: Version }> {
  const path = resolve(folder);
  const store = new ModelStore({ modelsDir: dirname(path), writeTo: 'models' });
  return { store, version: await store.get(basename(path), number) };
}

/**
 * A version of a folder as the base of a study.
 * @param number of the version; by default the current one
 * @throws Error where it is of another net, width or data set, or was trained with a regulariser
 */
export async function givenBase(
  folder: string,
  { net, width, dataset }: Pick<Study, 'net' | 'width' | 'dataset'>,
  number?: number,
): Promise<GivenBase> {
  const { version } = await openBase(folder, number);
  const { manifest, graph } = version;
  const expected = importGraph(builtIn(net, manifest.input.shape, manifest.labels.length, width));
  if (!isSame(graph, expected) && !isSame(graph, foldGraph(expected, initialWeights(expected, 1)).graph)) {
    throw fault(folder, `the net ${net} of width ${width}, with its batch norms or folded`, 'another net');
  }
  const { training } = manifest;
  if (training?.dataset !== dataset) {
    throw fault(
      folder,
      `a version that was trained on ${dataset}`,
      training?.dataset ?? 'one without a training record',
    );
  }
  const { kind } = training.regularizer;
  if (kind !== 'none') throw fault(folder, 'a version that was trained without a regulariser', JSON.stringify(kind));
  return { folder, version: version.version, digest: version.digest };
}

/** As JSON has them: a field that is undefined is none. */
function isSame(a: Graph, b: Graph): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

function fault(folder: string, expected: string, actual: string): Error {
  return new Error(`--base ${folder}: expected ${expected}, got ${actual}`);
}
