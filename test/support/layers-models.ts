import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import * as tfl from '@tensorflow/tfjs-layers';
import type { Random } from './random.js';

/** What tfjs-layers would write to disk: the model.json document and the bytes of its one shard. */
export interface SavedModel {
  document: Record<string, unknown>;
  bytes: Buffer;
}

export async function saveLayersModel(model: tfl.LayersModel): Promise<SavedModel> {
  let saved: SavedModel | undefined;
  await model.save({
    save: async (artifacts) => {
      saved = {
        document: {
          format: 'layers-model',
          modelTopology: artifacts.modelTopology as object,
          weightsManifest: [{ paths: ['weights.bin'], weights: artifacts.weightSpecs }],
        },
        bytes: Buffer.from(artifacts.weightData as ArrayBuffer),
      };
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
    },
  });
  return saved as SavedModel;
}

/** A functional tfjs-layers model that has every supported layer, with random sizes and random weights. */
export function randomLayersModel(random: Random): tfl.LayersModel {
  const { layers } = tfl;
  const input = tfl.input({ shape: [random.integer(8, 13), random.integer(8, 13), random.integer(1, 3)] });
  const apply = (layer: { apply(x: never): unknown }, x: unknown) => layer.apply(x as never) as tfl.SymbolicTensor;
  const padding = () => random.pick(['same', 'valid'] as const);
  const stem = apply(
    layers.conv2d({
      filters: random.integer(2, 6),
      kernelSize: [random.integer(1, 3), random.integer(1, 3)],
      strides: random.pick([1, 2]),
      padding: padding(),
      useBias: random.chance(0.5),
      activation: random.pick(['relu', 'linear'] as const),
    }),
    input,
  );
  const norm = apply(layers.batchNormalization({ scale: random.chance(0.7), center: random.chance(0.7) }), stem);
  const six = apply(layers.reLU({ maxValue: 6 }), norm);
  const padded = apply(
    layers.zeroPadding2d({
      padding: [
        [random.integer(0, 1), 1],
        [1, random.integer(0, 2)],
      ],
    }),
    six,
  );
  const depthwise = apply(
    layers.depthwiseConv2d({
      kernelSize: random.integer(1, 3),
      depthMultiplier: random.integer(1, 2),
      padding: padding(),
      activation: random.pick(['relu6', 'relu'] as const),
    }),
    padded,
  );
  const channels = depthwise.shape[3] as number;
  const dilated = apply(
    layers.conv2d({ filters: channels, kernelSize: 3, dilationRate: 2, padding: 'same', activation: 'linear' }),
    depthwise,
  );
  const sum = apply(
    layers.activation({ activation: 'relu' }),
    apply(layers.add(), [apply(layers.batchNormalization(), dilated), depthwise]),
  );
  const joined = apply(layers.concatenate(), [sum, depthwise]);
  const pooled = apply(
    (random.chance(0.5) ? layers.maxPooling2d : layers.averagePooling2d)({
      poolSize: 2,
      strides: random.pick([1, 2]),
      padding: padding(),
    }),
    joined,
  );
  const average = apply(layers.averagePooling2d({ poolSize: [2, 1], strides: 1, padding: 'same' }), pooled);
  const dropped = apply(layers.dropout({ rate: 0.3 }), average);
  const count = (dropped.shape as (number | null)[])
    .slice(1)
    .reduce((a, b) => (a as number) * (b as number), 1) as number;
  const flat = random.chance(0.5)
    ? apply(layers.globalAveragePooling2d({}), dropped)
    : apply(layers.reshape({ targetShape: [count] }), apply(layers.flatten(), dropped));
  const hidden = apply(layers.dense({ units: random.integer(3, 9), activation: 'relu' }), flat);
  const logits = apply(layers.dense({ units: random.integer(2, 6) }), hidden);
  const model = tfl.model({ inputs: input, outputs: random.chance(0.5) ? apply(layers.softmax(), logits) : logits });
  model.setWeights(
    model.weights.map((w) => {
      const shape = w.shape as number[];
      const data = random.normals(
        shape.reduce((a, b) => a * b, 1),
        0.5,
      );
      return tf.tensor(w.name.includes('variance') ? data.map((v) => Math.abs(v) + 0.2) : data, shape);
    }),
  );
  return model;
}
