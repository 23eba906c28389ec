/** Small nets for the tests of this folder. */
import * as tfl from '@tensorflow/tfjs-layers';
import type { Graph, Weights } from '../../src/model/graph.js';
import { importGraph } from '../../src/model/import.js';
import type { BackendName } from '../../src/tensorflow/backend.js';
import { Random } from '../../src/training/random.js';
import { initialWeights } from '../../src/training/weights.js';

/** What these tests run on, but for those of the wasm kernels: `TRAINING_BACKEND=tensorflow` takes libtensorflow. */
export const BACKEND = (process.env.TRAINING_BACKEND ?? 'wasm') as BackendName;

/**
 * A functional net with every kind of layer that a graph can have, but dropout.
 * @param depthwiseDilation TF.js Layers 4.22 ignores it in `predict`, so comparing with that takes 1
 */
export function everyLayer(depthwiseDilation = 2): tfl.LayersModel {
  const { layers } = tfl;
  const input = tfl.input({ shape: [11, 10, 2] });
  const at = (x: unknown, layer: { apply(x: never): unknown }) => layer.apply(x as never);
  let x = at(input, layers.conv2d({ filters: 4, kernelSize: [3, 2], dilationRate: 2, padding: 'same', name: 'c1' }));
  x = at(x, layers.batchNormalization({ name: 'b1' }));
  x = at(x, layers.reLU({ maxValue: 6, name: 'r1' }));
  x = at(
    x,
    layers.zeroPadding2d({
      padding: [
        [1, 0],
        [0, 2],
      ],
      name: 'z1',
    }),
  );
  x = at(x, layers.depthwiseConv2d({ kernelSize: 3, strides: 2, depthMultiplier: 2, padding: 'same', name: 'd1' }));
  x = at(x, layers.batchNormalization({ name: 'b2', scale: false, center: false }));
  const side = at(x, layers.conv2d({ filters: 8, kernelSize: 1, activation: 'relu', name: 'c2' }));
  x = at([x, side], layers.add({ name: 'a1' }));
  x = at([x, side], layers.concatenate({ name: 'k1' }));
  const pooled = at(x, layers.averagePooling2d({ poolSize: [3, 2], strides: 2, padding: 'same', name: 'p1' }));
  const largest = at(x, layers.maxPooling2d({ poolSize: [3, 2], strides: 2, padding: 'same', name: 'p2' }));
  x = at([pooled, largest], layers.concatenate({ name: 'k2', axis: 1 }));
  x = at(
    x,
    layers.depthwiseConv2d({
      kernelSize: 2,
      dilationRate: depthwiseDilation,
      padding: 'same',
      useBias: false,
      name: 'd2',
    }),
  );
  const global = at(x, layers.globalAveragePooling2d({ name: 'g1' } as never));
  const flat = at(at(x, layers.flatten({ name: 's1' })), layers.dense({ units: 5, name: 'f1' }));
  x = at([global, flat], layers.concatenate({ name: 'k3' }));
  x = at(x, layers.dense({ units: 4, name: 'f2', activation: 'softmax' }));
  return tfl.model({ inputs: input, outputs: x as tfl.SymbolicTensor });
}

/** Dense layers of the given widths, with or without ReLU between them. */
export function perceptron(widths: number[], activation: 'relu' | 'linear'): Graph {
  const [inputs, ...units] = widths;
  const model = tfl.sequential();
  for (const [i, width] of units.entries()) {
    const last = i === units.length - 1;
    const shape = i === 0 ? { inputShape: [inputs] } : {};
    model.add(tfl.layers.dense({ units: width, name: `f${i}`, activation: last ? 'softmax' : activation, ...shape }));
  }
  return graphOf(model);
}

export function graphOf(model: tfl.LayersModel): Graph {
  return importGraph({ modelTopology: model.toJSON(null, false) });
}

/** Seeded weights, with random biases, scales and moving averages too. */
export function randomWeights(graph: Graph, seed: number): Weights {
  const random = new Random(seed);
  const weights = initialWeights(graph, seed);
  for (const [name, { data }] of weights) {
    const positive = /variance|gamma/.test(name);
    if (/kernel/.test(name)) continue;
    for (let i = 0; i < data.length; i++) data[i] = positive ? 0.5 + random.uniform() : random.normal() / 4;
  }
  return weights;
}

export function normals(seed: number, length: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => random.normal());
}
