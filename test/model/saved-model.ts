/** TF.js Layers models for tests, saved to memory: what `model.save` would write to a folder. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';

export { tf, tfl };

export interface SavedModel {
  /** `model.json`, with a weights manifest of one file, weights.bin. */
  document: Record<string, unknown> & { modelTopology: Record<string, unknown> };
  bytes: Buffer;
}

export async function saveModel(model: tfl.LayersModel): Promise<SavedModel> {
  await tf.setBackend('cpu');
  let saved: SavedModel | undefined;
  await model.save({
    save: async (artifacts) => {
      const document = {
        format: 'layers-model',
        modelTopology: artifacts.modelTopology as Record<string, unknown>,
        weightsManifest: [{ paths: ['weights.bin'], weights: artifacts.weightSpecs }],
      };
      const bytes = Buffer.from(artifacts.weightData as ArrayBuffer);
      saved = { document: JSON.parse(JSON.stringify(document)), bytes };
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
    },
  });
  return saved as SavedModel;
}

/** Writes the model as TF.js would; `shards` cuts the weights into so many files. */
export async function writeModel(folder: string, { document, bytes }: SavedModel, shards = 1): Promise<void> {
  const [group] = document.weightsManifest as { paths: string[]; weights: unknown[] }[];
  const size = Math.ceil(bytes.length / shards);
  const paths = Array.from({ length: shards }, (_, i) => (shards === 1 ? 'weights.bin' : `group1-shard${i + 1}.bin`));
  await Promise.all(paths.map((p, i) => writeFile(join(folder, p), bytes.subarray(i * size, (i + 1) * size))));
  await writeFile(join(folder, 'model.json'), JSON.stringify({ ...document, weightsManifest: [{ ...group, paths }] }));
}
