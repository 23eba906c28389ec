import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import type { Graph, Weights } from '../../src/model/graph.js';
import { importGraph } from '../../src/model/import.js';
import { buildPlan } from '../../src/quantize/build.js';
import { readEnergyTable } from '../../src/quantize/energy.js';
import type { Precision } from '../../src/quantize/precision.js';
import { minMaxAccuracies, minMaxTensor, minMaxVersion } from '../../src/reproduction/min-max.js';
import { builtIn } from '../../src/training/architectures/table.js';
import type { Split } from '../../src/training/datasets/dataset.js';
import type { Candidate } from '../../src/training/runner.js';
import { kernelNames } from '../../src/training/weights.js';
import { normals, randomWeights } from '../training/nets.js';

function near(actual: ArrayLike<number>, expected: number[], tolerance = 1e-6) {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(actual[i] - value) <= tolerance, `${i}: expected ${value}, got ${actual[i]}`);
  }
}

test('a tensor by hand: one scale over its whole range', () => {
  const of = (data: number[], bits: number) =>
    minMaxTensor({ shape: [data.length], data: Float32Array.from(data) }, bits).data;
  // 2 bits: s = (2 − −1)/3 = 1, z = 1; halves go to even codes: 0.5 → 0 + 1, 1.5 → 2 + 1.
  near(of([-1, 0.2, 0.5, 1.5, 2], 2), [-1, 0, 0, 2, 2]);
  // 3 bits, none below 0: s = 1.4/7 = 0.2, z = 0.
  near(of([0.09, 0.11, 0.71, 1.4], 3), [0, 0.2, 0.8, 1.4]);
  // 4 bits, none above 0: s = 3/15 = 0.2, z = 15.
  near(of([-3, -0.75, -0.05], 4), [-3, -0.8, 0]);
  // One large weight takes the levels of all others.
  // Here s = 9.3/3, z = 0.
  near(of([0.3, -0.3, 0.4, 9], 2), [0, 0, 0, 9.3]);
  near(of([0, 0], 4), [0, 0]);
});

/** Two inputs, two hidden ReLU units, two logits. */
const GRAPH: Graph = {
  nodes: [
    { op: 'input', name: 'in', inputs: [], shape: [2] },
    { op: 'dense', name: 'hidden', inputs: ['in'], shape: [2], kernel: 'k1', bias: null },
    { op: 'relu', name: 'relu', inputs: ['hidden'], shape: [2], maxValue: null },
    { op: 'dense', name: 'out', inputs: ['relu'], shape: [2], kernel: 'k2', bias: 'b2' },
  ],
  input: 'in',
  output: 'out',
};
const tensor = (shape: number[], ...data: number[]) => ({ shape, data: Float32Array.from(data) });
const WEIGHTS: Weights = new Map([
  ['k1', tensor([2, 2], 1, -1, 0.4, 2)],
  ['k2', tensor([2, 2], 3, 0.9, -0.2, 0)],
  ['b2', tensor([2], 0.25, -0.5)],
]);
const MANIFEST = {
  input: { shape: [1, 2, 1] as [number, number, number], range: [0, 1] as [number, number], resize: 'fill' as const },
  ranges: { relu: { min: 0, max: 3, clip: { 2: [0, 1.5] as [number, number] } } },
  quantizer: { clip_rules: {}, minimum_bits: {} },
};

test('a net by hand at 2×2: weights per tensor, activations over their extremes', () => {
  const { graph, weights, manifest } = minMaxVersion({ graph: GRAPH, weights: WEIGHTS, manifest: MANIFEST }, 2);
  // k1: s = 1, z = 1 → [[1, −1], [0, 2]]; k2: [−0.2, 3], s = 3.2/3, z = rhe(0.1875) = 0 → 3 → 3.2, 0.9 → 1.0667, −0.2 → 0.
  near(weights.get('hidden/kernel')?.data ?? [], [1, -1, 0, 2]);
  near(weights.get('out/kernel')?.data ?? [], [3.2, 3.2 / 3, 0, 0]);
  near(weights.get('out/bias')?.data ?? [], [0.25, -0.5]);
  // Input [1, 0.8] (8 bits: 1 and 204/255): hidden [1, −1 + 1.6 = 0.6]; range [0, 3], not the clip: s = 1 → [1, 1].
  const plan = buildPlan(graph, weights, manifest, { weightBits: 32, activationBits: 2 });
  near(runPlan(plan, Float32Array.of(1, 0.8), 1), [3.2 + 0.25, 3.2 / 3 - 0.5], 1e-5);
});

for (const name of ['resnet-20', 'mobilenet-small']) {
  test(`${name}: batch norm is folded first, and every activation has its range`, async () => {
    const shape: [number, number, number] = [16, 16, 3];
    const graph = importGraph(builtIn(name, shape, 4, 0.25));
    const weights = randomWeights(graph, 3);
    const input = { shape, range: [-2, 2] as [number, number], resize: 'fill' as const };
    const images = { input: normals(4, 8 * 768), batch: 8 };
    const ranges = calibrate(graph, weights, input, [images]);
    const version = { graph, weights, manifest: { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } } };

    const folded = minMaxVersion(version, 4);
    assert.ok(folded.graph.nodes.every(({ op }) => op !== 'batch_norm'));
    for (const kernel of kernelNames(folded.graph)) {
      const levels = new Set(folded.weights.get(kernel)?.data);
      assert.ok(levels.size <= 16, `${kernel}: ${levels.size} levels`);
    }
    const logits = (v: Candidate, precision: Precision) =>
      runPlan(buildPlan(v.graph, v.weights, v.manifest, precision), images.input, images.batch);
    const float = logits(version, { weightBits: 32, activationBits: 32 });
    const distance = (bits: 8 | 4 | 2) => {
      const quantised = logits(minMaxVersion(version, bits), { weightBits: 32, activationBits: bits });
      return Math.hypot(...quantised.map((v, i) => v - float[i])) / Math.hypot(...float);
    };
    assert.ok(distance(8) < 0.3, `at 8 bits: ${distance(8)}`);
    assert.ok(distance(8) < distance(4) && distance(4) < distance(2));

    const split: Split = {
      size: 8,
      batch: async (indices) => ({
        input: Float32Array.from({ length: indices.length * 768 }, (_, i) => images.input[indices[0] * 768 + i]),
        // What the float net says, so that accuracy is agreement with it.
        labels: Int32Array.from(indices, (i) => {
          const own = float.subarray(i * 4, i * 4 + 4);
          return own.indexOf(Math.max(...own));
        }),
      }),
    };
    const energyTable = readEnergyTable();
    const accuracies = await minMaxAccuracies(version, split, ['8x8', '4x8', '4x4'], { energyTable });
    assert.deepEqual(Object.keys(accuracies).sort(), ['4x4', '4x8', '8x8']);
    assert.ok(accuracies['8x8'] >= 0.5, `${accuracies['8x8']}`);
  });
}
