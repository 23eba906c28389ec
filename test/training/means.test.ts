/** The means beside the gradient l1 rule: rounding in training, kurtosis, averaging, and how they combine. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { runPlan } from '../../src/engine/reference.js';
import type { DenseNode, Graph, GraphNode } from '../../src/model/graph.js';
import type { ActivationRange } from '../../src/model/manifest.js';
import { elements } from '../../src/model/shapes.js';
import { buildPlan } from '../../src/quantize/build.js';
import { activationTensors, imageDims } from '../../src/quantize/fuse.js';
import { activationRange, codesParameters, Histogram } from '../../src/quantize/ranges.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { fakeQuantize, fakeQuantizeGrad } from '../../src/tensorflow/fused.js';
import { WeightAverage } from '../../src/training/averaging.js';
import { FakeQuantizer } from '../../src/training/fake-quantizer.js';
import { kurtosisGradients } from '../../src/training/kurtosis.js';
import { Means } from '../../src/training/means.js';
import { forward } from '../../src/training/pass.js';
import { Random } from '../../src/training/random.js';
import { regularized, stepGradients } from '../../src/training/regularizer.js';
import { NO_REGULARIZER, type RegularizerSettings } from '../../src/training/request.js';
import { sharpnessAwareGradients } from '../../src/training/sam.js';
import { drawPrecision, StepRule } from '../../src/training/step.js';
import { toTensors } from '../../src/training/weights.js';
import { BACKEND, everyLayer, graphOf, normals, perceptron, randomWeights } from './nets.js';

before(async () => {
  await loadBackend(BACKEND);
});

const settings = (some: Partial<RegularizerSettings>): RegularizerSettings => ({ ...NO_REGULARIZER, ...some });

test('fake quantisation gives the values that codes have, and its gradient stops where it clips', () => {
  for (const [low, high, bits] of [
    [0, 3, 2],
    [0, 0.7, 4],
    [-1, 2, 3],
    [-0.3, 0.4, 8],
  ]) {
    const codes = codesParameters(low, high, bits);
    const x = Float32Array.from(normals(bits, 500), (v) => 2 * v);
    const [y, dx] = tf.tidy(() => {
      const input = tf.tensor1d(x);
      const values = fakeQuantize(input, codes);
      return [values.dataSync(), fakeQuantizeGrad(tf.fill([500], 3), input, codes).dataSync()];
    });
    const { scale, zeroPoint } = codes;
    const [bottom, top] = [scale * (0 - zeroPoint), scale * (2 ** bits - 1 - zeroPoint)];
    for (let i = 0; i < x.length; i++) {
      const code = y[i] / scale + zeroPoint;
      assert.ok(Math.abs(code - Math.round(code)) < 1e-3 && code > -0.5 && code < 2 ** bits - 0.5, `${code}`);
      assert.ok(Math.abs(y[i] - Math.min(Math.max(x[i], bottom), top)) <= scale * 0.5001);
      const edge = Math.min(Math.abs(x[i] - bottom), Math.abs(x[i] - top)) < 1e-5;
      if (!edge) assert.equal(dx[i], x[i] > bottom && x[i] < top ? 3 : 0);
    }
  }
});

/** Convolutions, one depthwise, an addition, and a concatenation whose operands go nowhere else. */
function branches(): Graph {
  const { layers } = tfl;
  const at = (x: unknown, layer: { apply(x: never): unknown }) => layer.apply(x as never);
  const conv = (name: string, activation: 'relu' | 'linear') =>
    layers.conv2d({ filters: 4, kernelSize: 3, padding: 'same', activation, name });
  const input = tfl.input({ shape: [6, 5, 2] });
  const first = at(input, conv('c1', 'relu'));
  const depth = at(first, layers.depthwiseConv2d({ kernelSize: 3, padding: 'same', activation: 'relu', name: 'd' }));
  const sum = at(at([at(depth, conv('c2', 'linear')), depth], layers.add({ name: 'a' })), layers.reLU({ name: 'r' }));
  const side = at(first, conv('c3', 'relu'));
  const joined = at(at([sum, side], layers.concatenate({ name: 'k' })), conv('c4', 'relu'));
  const output = at(at(joined, layers.flatten({ name: 's' })), layers.dense({ units: 5, name: 'f' }));
  return graphOf(tfl.model({ inputs: input, outputs: output as tfl.SymbolicTensor }));
}

for (const [what, graph] of [
  ['dense layers', () => perceptron([12, 20, 16, 5], 'relu')],
  ['branches', branches],
] as const) {
  test(`a pass through the fake-quantised net gives what serving gives at that precision: ${what}`, () => {
    compareWithServing(graph());
  });
}

function compareWithServing(graph: Graph): void {
  const shape = imageDims(graph.nodes[0].shape);
  const size = elements(shape);
  const start = randomWeights(graph, 5);
  // Serving rounds biases to whole steps of its accumulators, which training leaves out.
  for (const [name, { data }] of start) if (name.endsWith('bias')) data.fill(0);
  const weights = toTensors(start);
  const batch = 32;
  const values = Float32Array.from(
    normals(6, batch * size),
    (v) => Math.round(Math.min(Math.abs(v) / 4, 1) * 255) / 255,
  );
  const x = tf.tensor(values, [batch, ...graph.nodes[0].shape]);
  const quantizer = new FakeQuantizer(regularized(graph));
  for (const bits of [2, 3, 4, 6] as const) {
    const precision = { weightBits: bits, activationBits: bits };
    const ranges: Record<string, ActivationRange> = {};
    let logits = new Float32Array();
    tf.tidy(() => {
      const { outputs } = forward(graph, weights, x, { training: false });
      for (const name of activationTensors(graph)) {
        const seen = outputs[name].dataSync();
        const histogram = new Histogram(Math.min(...seen), Math.max(...seen));
        histogram.add(seen);
        ranges[name] = activationRange(histogram);
      }
      const quantization = quantizer.at(precision, weights, x, 0);
      const pass = forward(graph, weights, x, { training: true, quantization });
      logits = Float32Array.from(pass.logits.dataSync());
    });
    const input = { shape, range: [0, 1] as [number, number] };
    const source = {
      input: { ...input, resize: 'fill' as const },
      ranges,
      quantizer: { clip_rules: {}, minimum_bits: {} },
    };
    const served = runPlan(buildPlan(graph, start, source, precision), values, batch);
    const largest = Math.max(...served.map(Math.abs));
    // A sum that falls on a rounding boundary may go either way in float32; such flips are rare and one step wide.
    const far = served.filter((v, i) => Math.abs(v - logits[i]) > 1e-3 * largest);
    assert.ok(far.length <= served.length / 20, `${bits} bits: ${far.length} of ${served.length} logits differ`);
  }
  quantizer.dispose();
  tf.dispose([weights, x]);
}

test('ranges follow the batch where batch norms are left, whatever their moving averages', () => {
  const model = tfl.sequential();
  model.add(tfl.layers.dense({ inputShape: [6], units: 8, name: 'f1' }));
  model.add(tfl.layers.batchNormalization({ name: 'b' }));
  model.add(tfl.layers.reLU({ name: 'r' }));
  model.add(tfl.layers.dropout({ rate: 0.5, name: 'd' }));
  model.add(tfl.layers.dense({ units: 3, name: 'f2' }));
  const graph = graphOf(model);
  const start = randomWeights(graph, 3);
  const x = tf.tensor2d(normals(8, 32 * 6), [32, 6]);
  const tops = [1, 100].map((factor) => {
    for (const [name, { data }] of start) if (name.endsWith('variance')) for (const i of data.keys()) data[i] *= factor;
    const weights = toTensors(start);
    const quantizer = new FakeQuantizer(regularized(graph));
    const scale = tf.tidy(() => {
      quantizer.at({ weightBits: 4, activationBits: 4 }, weights, x, 0);
      return quantizer.at({ weightBits: 4, activationBits: 4 }, weights, x, 1).activations.get('r')?.scale;
    });
    quantizer.dispose();
    tf.dispose(weights);
    return scale;
  });
  assert.equal(tops[0], tops[1]);
  assert.ok((tops[0] ?? 0) > 0.05, `${tops[0]}`);
  x.dispose();
});

test('norms that overflow are left out of the means, which stay numbers', () => {
  const means = new Means();
  const rest = { kurtosis: null, gradients: {}, moving: {} };
  const strength = { lambdaWeights: 1, lambdaActivations: 1 };
  means.add({ loss: 2, normWeights: 3, normActivations: 4, strength, ...rest });
  means.add({ loss: 2, normWeights: Number.POSITIVE_INFINITY, normActivations: 4, strength, ...rest });
  means.add({ loss: 2, normWeights: 3, normActivations: Number.NaN, strength, ...rest });
  const values = means.values();
  assert.deepEqual(JSON.parse(JSON.stringify(values)), values);
  assert.deepEqual([values.loss, values.norm_weights, values.norm_activations], [2, 3, 4]);
});

test('a kernel that the output does not depend on takes no part in a step', () => {
  const graph = perceptron([3, 4, 2], 'relu');
  const dead: GraphNode = {
    ...(graph.nodes.find(({ op }) => op === 'dense') as DenseNode),
    name: 'x',
    kernel: 'x/kernel',
  };
  const net = regularized({ ...graph, nodes: [...graph.nodes, { ...dead, bias: null }] });
  assert.deepEqual(net.kernels, regularized(graph).kernels);
  const weights = { ...toTensors(randomWeights(graph, 2)), 'x/kernel': tf.ones([3, 4]) };
  const batch = { x: tf.tensor2d(normals(3, 15), [5, 3]), labels: Int32Array.of(0, 1, 0, 1, 1), seeds: [1] };
  const step = stepGradients(net, weights, batch, { lambdaWeights: 0.1, lambdaActivations: 0.1 });
  assert.ok((step.normWeights ?? 0) > 0);
  tf.dispose([weights, batch.x, step.gradients, step.moving]);
});

test('the kurtosis penalty has the gradient that central differences give, and draws towards 1.8', () => {
  const random = new Random(8);
  const kernels = [normals(1, 60), Float32Array.from({ length: 40 }, () => random.uniform() - 0.5)];
  const penalty = (values: Float32Array[]): number => {
    const each = values.map((v) => {
      const mean = v.reduce((a, b) => a + b, 0) / v.length;
      const variance = v.reduce((a, b) => a + (b - mean) ** 2, 0) / v.length;
      const kurtosis = v.reduce((a, b) => a + (b - mean) ** 4, 0) / v.length / variance ** 2;
      return (kurtosis - 1.8) ** 2;
    });
    return (0.7 / values.length) * each.reduce((a, b) => a + b, 0);
  };
  const tensors = kernels.map((k) => tf.tensor1d(k));
  const { gradients, mean } = kurtosisGradients(tensors, 0.7);
  for (const [k, gradient] of gradients.entries()) {
    const given = gradient.dataSync();
    for (let i = 0; i < given.length; i += 7) {
      const at = (by: number) =>
        penalty(kernels.map((v, j) => (j === k ? v.map((w, n) => (n === i ? w + by : w)) : v)));
      const wanted = (at(1e-2) - at(-1e-2)) / 2e-2;
      assert.ok(Math.abs(given[i] - wanted) < 2e-3 + 0.02 * Math.abs(wanted), `${given[i]} for ${wanted}`);
    }
  }
  const before = penalty(kernels);
  const moved = kernels.map((v, k) => v.map((w, i) => w - 0.5 * gradients[k].dataSync()[i]));
  assert.ok(penalty(moved) < before);
  tf.dispose([tensors, gradients, mean]);
});

test('the average of weights forgets its start and follows its decay', () => {
  const weights = { a: tf.tensor1d([0, 0]) };
  const average = new WeightAverage(0.5, weights);
  for (const value of [2, 4, 8]) {
    const now = { a: tf.tensor1d([value, -value]) };
    average.add(now);
    tf.dispose(now);
  }
  // Decays of 1/10, 2/11, 3/12: below 0.5.
  const wanted = ((2 * 0.9 * 2) / 11 + (4 * 9) / 11) / 4 + 8 * 0.75;
  const [first, second] = average.weights.a.dataSync();
  assert.ok(Math.abs(first - wanted) < 1e-5, `${first} for ${wanted}`);
  assert.equal(second, -first);
  const before = tf.memory().numTensors;
  average.dispose();
  tf.dispose(weights);
  assert.equal(tf.memory().numTensors, before - 2);
});

test('any-width draws each width, half of them with 8-bit activations; qat always the same', () => {
  const random = new Random(3);
  const counts = new Map<string, number>();
  for (let i = 0; i < 4000; i++) {
    const drawn = drawPrecision(settings({ kind: 'any-width', widths: [2, 4, 32] }), random);
    const key = drawn === null ? 'float' : `${drawn.weightBits}x${drawn.activationBits}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assert.deepEqual([...counts.keys()].sort(), ['2x2', '2x8', '4x4', '4x8', 'float']);
  for (const [key, count] of counts)
    assert.ok(Math.abs(count - (key === 'float' ? 1333 : 667)) < 150, `${key} ${count}`);
  assert.deepEqual(drawPrecision(settings({ kind: ['qat', 'kurtosis'], qat_bits: 3 }), random), {
    weightBits: 3,
    activationBits: 3,
  });
  assert.equal(drawPrecision(settings({ kind: 'gradient-l1', lambda_weights: 1 }), random), null);
});

test('every combination of means takes steps that lower the loss, and leaves no tensors behind', () => {
  const graph = graphOf(everyLayer());
  const start = randomWeights(graph, 9);
  const batch = {
    x: tf.tensor4d(Float32Array.from(normals(2, 8 * 220), Math.abs), [8, 11, 10, 2]),
    labels: Int32Array.from({ length: 8 }, (_, i) => i % 4),
    seeds: [1],
  };
  const l1 = { lambda_weights: 1e-3, lambda_activations: 1e-3 };
  const all: Partial<RegularizerSettings>[] = [
    {},
    { kind: 'gradient-l1', ...l1 },
    { kind: 'gradient-l1', form: 'sam', sam_radius: 0.2, sam_bits: 6 },
    { kind: 'kurtosis', lambda_kurtosis: 0.1 },
    { kind: 'qat', qat_bits: 4 },
    { kind: ['gradient-l1', 'kurtosis', 'any-width'], ...l1, lambda_kurtosis: 0.1, widths: [4, 8, 32] },
  ];
  for (const some of all) {
    const before = tf.memory().numTensors;
    const weights = toTensors(start);
    const rule = new StepRule(graph, settings(some));
    const losses: number[] = [];
    for (let step = 0; step < 12; step++) {
      const taken = rule.gradients(weights, batch, step, [4, step], step > 0);
      losses.push(taken.loss);
      assert.equal(taken.kurtosis !== null, step > 0 && String(some.kind).includes('kurtosis'));
      for (const [name, gradient] of Object.entries(taken.gradients)) {
        const next = tf.tidy(() => tf.sub(weights[name], tf.mul(gradient, 0.02)));
        weights[name].dispose();
        weights[name] = next;
      }
      tf.dispose([taken.gradients, taken.moving]);
    }
    assert.ok(losses[11] < losses[0], `${JSON.stringify(some)}: ${losses.map((l) => l.toFixed(3)).join(' ')}`);
    rule.dispose();
    tf.dispose(weights);
    assert.equal(tf.memory().numTensors, before, JSON.stringify(some));
  }
  batch.x.dispose();
});

test('the sharpness-aware gradient is that at the worst corner of the box', () => {
  // One layer has no activations between, and its loss is convex: the way to the corner is uphill.
  const graph = perceptron([3, 2], 'linear');
  const start = randomWeights(graph, 2);
  const weights = toTensors(start);
  const net = regularized(graph);
  const batch = { x: tf.tensor2d(normals(3, 15), [5, 3]), labels: Int32Array.of(0, 1, 0, 1, 1), seeds: [1] };
  const off = { lambdaWeights: 0, lambdaActivations: 0 };
  const plain = stepGradients(net, weights, batch, off);
  const sharp = sharpnessAwareGradients(net, weights, batch, { radius: 0.3, bits: 4 });
  const [kernel] = net.kernels;
  const w = start.get(kernel)?.data as Float32Array;
  const g = plain.gradients[kernel].dataSync();
  const half = (column: number) => Math.max(...[0, 1, 2].map((row) => Math.abs(w[row * 2 + column]))) / (2 * 7);
  const corner = w.map((value, i) => value + 0.3 * half(i % 2) * Math.sign(g[i]));
  const moved = { ...weights, [kernel]: tf.tensor2d(corner, [3, 2]) };
  const there = stepGradients(net, moved, batch, off);
  assert.ok(there.loss > plain.loss);
  assert.equal(sharp.loss, plain.loss);
  for (const [name, gradient] of Object.entries(there.gradients)) {
    const given = sharp.gradients[name].dataSync();
    for (const [i, wanted] of gradient.dataSync().entries()) assert.ok(Math.abs(given[i] - wanted) < 1e-6);
  }
  const norm = Array.from(g).reduce((sum, value) => sum + Math.abs(value), 0);
  assert.ok(Math.abs((sharp.normWeights ?? 0) - norm) < 1e-5);
  tf.dispose([moved, weights, batch.x]);
  for (const { gradients, moving } of [plain, sharp, there]) tf.dispose([gradients, moving]);
});
