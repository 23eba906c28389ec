import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { runPlan } from '../../src/engine/reference.js';
import { ServiceError } from '../../src/errors.js';
import { importGraph, importModel } from '../../src/model/import.js';
import { buildPlan, outline } from '../../src/quantize/build.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { ARCHITECTURES, builtIn } from '../../src/training/architectures/table.js';
import { scaled } from '../../src/training/architectures/topology.js';
import { createOptimizer } from '../../src/training/optimizer.js';
import { forward } from '../../src/training/pass.js';
import { regularized, stepGradients } from '../../src/training/regularizer.js';
import { initialWeights, toTensors } from '../../src/training/weights.js';
import { BACKEND, normals, randomWeights } from './nets.js';

const NAMES = Object.keys(ARCHITECTURES);
const FLOAT = { weightBits: 32, activationBits: 32 } as const;
const SOURCE = {
  input: { shape: [32, 32, 3] as [number, number, number], range: [0, 1] as [number, number], resize: 'fill' as const },
  ranges: {},
  quantizer: { clip_rules: {}, minimum_bits: {} },
};

before(async () => {
  await loadBackend(BACKEND);
});

/** Learned weights and MACs. */
function size(name: string, shape: number[], classes: number, width: number) {
  const { graph, weightShapes } = importModel(builtIn(name, shape, classes, width));
  const weights = [...weightShapes].filter(([weight]) => !weight.includes('moving'));
  const { macs } = outline(fuseGraph(graph), SOURCE, FLOAT).plan;
  return { graph, macs, weights: weights.reduce((sum, [, s]) => sum + s.reduce((a, b) => a * b), 0) };
}

test('weights and MACs of each architecture at widths, for 32×32×3 and 10 classes', () => {
  const table: [string, number, number, number][] = [
    ['lenet', 1, 83126, 886440],
    ['vgg-small', 0.25, 80218, 7530496],
    ['vgg-small', 1, 1150282, 115056640],
    ['vgg-small', 2, 4512394, 456605696],
    ['resnet-20', 0.5, 68786, 10314048],
    ['resnet-20', 1, 272474, 40813184],
    ['resnet-20', 2, 1084586, 162366720],
    ['mobilenet-small', 0.5, 108618, 3724672],
    ['mobilenet-small', 1, 395722, 13282048],
  ];
  for (const [name, width, weights, macs] of table) {
    const actual = size(name, [32, 32, 3], 10, width);
    assert.deepEqual([name, width, actual.weights, actual.macs], [name, width, weights, macs]);
  }
  assert.equal(size('lenet', [28, 28, 1], 10, 1).weights, 61706);
});

test('the weights of vgg-small and mobilenet-small are those of their tables', () => {
  const norm = (channels: number) => 2 * channels;
  for (const width of [0.5, 1, 1.5]) {
    const [a, b, c] = [64, 128, 256].map((n) => n * width);
    const convolutions = [
      [3, a],
      [a, b],
      [b, b],
      [b, c],
      [c, c],
    ].reduce((sum, [from, to]) => sum + 9 * from * to + norm(to), 0);
    assert.equal(size('vgg-small', [32, 32, 3], 10, width).weights, convolutions + 16 * c * 10 + 10);
  }
  const block = (from: number, expansion: number, to: number) => {
    const inner = expansion * from;
    const expand = expansion === 1 ? 0 : from * inner + norm(inner);
    return expand + 9 * inner + norm(inner) + inner * to + norm(to);
  };
  const blocks = [block(16, 1, 16)];
  const channels = [16, 24, 24, 32, 32, 64, 64, 64, 96, 96];
  for (let i = 1; i < channels.length; i++) blocks.push(block(channels[i - 1], 6, channels[i]));
  const ends = 27 * 16 + norm(16) + 96 * 384 + norm(384) + 384 * 10 + 10;
  assert.equal(
    size('mobilenet-small', [32, 32, 3], 10, 1).weights,
    blocks.reduce((x, y) => x + y, ends),
  );
});

test('channels at a width are multiples of 4, and at 1 the architecture’s own', () => {
  assert.deepEqual(
    [1, 0.25, 0.5, 2].map((width) => scaled(6, width)),
    [6, 4, 4, 12],
  );
  assert.deepEqual(
    [1, 0.25, 0.3, 0.7, 4].map((width) => scaled(96, width)),
    [96, 24, 28, 68, 384],
  );
  for (const name of NAMES) {
    for (const width of [0.25, 0.6, 1.1]) {
      for (const node of importGraph(builtIn(name, [32, 32, 3], 10, width)).nodes) {
        if (!('kernel' in node) || node.name === 'logits') continue;
        assert.equal(node.shape[node.shape.length - 1] % 4, 0, `${name} ${node.name} at ${width}`);
      }
    }
  }
});

test('every architecture takes images from 16×16 of any shape, and any number of classes', () => {
  for (const name of NAMES) {
    for (const [shape, classes] of [
      [[16, 16, 1], 2],
      [[17, 23, 3], 7],
      [[64, 48, 4], 100],
    ] as const) {
      const graph = importGraph(builtIn(name, shape, classes, 0.25));
      assert.deepEqual(graph.nodes[0].shape, shape, name);
      assert.deepEqual(graph.nodes.at(-1)?.shape, [classes], name);
    }
    for (const shape of [
      [15, 32, 3],
      [32, 8, 3],
    ]) {
      assert.throws(
        () => builtIn(name, shape, 10, 1),
        (error) => {
          assert.ok(error instanceof ServiceError && error.code === 'invalid_field');
          assert.equal(
            error.message,
            `architecture: ${name}: expected images of at least 16×16, got ${shape[0]}×${shape[1]}`,
          );
          return true;
        },
      );
    }
  }
});

for (const name of NAMES) {
  test(`${name}: TF.js Layers takes the document, and all three ways to run it agree`, async () => {
    const shape = [18, 16, 3];
    const document = builtIn(name, shape, 5, 0.25);
    const graph = importGraph(document);
    const weights = randomWeights(graph, 11);
    const model = await tfl.models.modelFromJSON(document as never);
    for (const variable of model.weights) {
      const { shape: stored, data } = weights.get(variable.originalName) ?? assert.fail(variable.originalName);
      assert.deepEqual(variable.shape, stored, variable.originalName);
      variable.write(tf.tensor(data, stored));
    }
    assert.equal(model.weights.length, weights.size);
    const batch = 3;
    const input = normals(12, batch * shape.reduce((a, b) => a * b)).map((v) => Math.abs(v));
    const expected = (model.predict(tf.tensor(input, [batch, ...shape])) as tf.Tensor).dataSync();
    const logits = runPlan(buildPlan(graph, weights, SOURCE, FLOAT), input, batch);
    const actual = tf.softmax(tf.tensor2d(logits, [batch, 5])).dataSync();
    const trained = tf.tidy(() => {
      const run = forward(graph, toTensors(weights), tf.tensor(input, [batch, ...shape]), { training: false });
      return tf.softmax(run.logits).dataSync();
    });
    for (let i = 0; i < expected.length; i++) {
      for (const got of [actual[i], trained[i]]) {
        assert.ok(Math.abs(expected[i] - got) < 1e-4, `${i}: expected ${expected[i]}, got ${got}`);
      }
    }
    assert.ok(Math.max(...expected) < 0.9999, 'probabilities that say something');
    model.dispose();
  });

  test(`${name}: a few steps on one batch bring the loss down`, () => {
    const graph = importGraph(builtIn(name, [16, 16, 2], 3, 0.25));
    const weights = toTensors(initialWeights(graph, 1));
    const optimizer = createOptimizer({ kind: 'adam', momentum: 0, weight_decay: 0 }, []);
    const x = tf.tensor4d(normals(2, 12 * 512), [12, 16, 16, 2]);
    const batch = { x, labels: Int32Array.from({ length: 12 }, (_, i) => i % 3), seeds: [1] };
    const net = regularized(graph);
    const losses: number[] = [];
    for (let step = 0; step < 12; step++) {
      const { loss, gradients, moving } = stepGradients(net, weights, batch, {
        lambdaWeights: 0,
        lambdaActivations: 0,
      });
      losses.push(loss);
      optimizer.apply(weights, gradients, 0.01);
      tf.dispose([gradients, moving]);
    }
    assert.ok(losses[11] < losses[0] / 2, `${losses}`);
    optimizer.dispose();
    tf.dispose([weights, x]);
  });
}
