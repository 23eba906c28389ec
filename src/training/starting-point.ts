import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelStore } from '../model/store.js';
import type { StartingPoint, TrainRequest } from './request.js';

/**
 * What a request's `from` names, read from the store; undefined where it names nothing.
 * @throws ServiceError `model_not_found`, `version_not_found`
 */
export async function startingPoint(
  store: Pick<ModelStore, 'get' | 'source'>,
  { model, from }: Pick<TrainRequest, 'model' | 'from'>,
): Promise<StartingPoint | undefined> {
  if (from === null) return undefined;
  const version = await store.get(model, from === 'current' ? undefined : from);
  const text = await readFile(join(version.folder, 'model.json'), 'utf8');
  const { weightsManifest: _, ...topology } = JSON.parse(text) as Record<string, unknown>;
  const weights = await store.source(version).readWeights();
  const { input, labels } = version.manifest;
  return { graph: version.graph, weights, topology, digest: version.digest, input, labels };
}
