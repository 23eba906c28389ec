import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import type { Graph, GraphNode, Pair, Weights } from '../../src/model/graph.js';
import type { ActivationRange, InputSpec } from '../../src/model/manifest.js';
import { buildPlan } from '../../src/quantize/build.js';
import { dataFreeRanges, expectedHistogram } from '../../src/quantize/data-free.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import { momentsOf, tensorMoments } from '../../src/quantize/moments.js';
import { clippedMoments, cumulative, greatestOf } from '../../src/quantize/normal.js';
import type { Width } from '../../src/quantize/precision.js';
import { clipRange } from '../../src/quantize/ranges.js';
import { runNaively } from '../support/naive.js';
import { randomNet } from '../support/nets.js';
import { measureNorms } from '../support/norms.js';
import { Random } from '../support/random.js';

test('the moments of a clipped normal are those of many draws', () => {
  const random = new Random(3);
  const draws = Float64Array.from({ length: 200_000 }, () => random.normal());
  const infinite = Number.POSITIVE_INFINITY;
  const cases = [
    [0, 1, 0, infinite],
    [-1, 2, 0, 6],
    [3, 2, 0, 6],
    [8, 1, 0, 6],
    [-9, 1, 0, infinite],
    [1, 2, -infinite, infinite],
    [0.5, 0, 0, 6],
    [7, 0, 0, 6],
  ];
  for (const [mean, deviation, low, high] of cases) {
    const values = draws.map((z) => Math.min(Math.max(mean + deviation * z, low), high));
    const want = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - want) ** 2, 0) / values.length;
    const got = clippedMoments(mean, deviation, low, high);
    const about = `N(${mean}, ${deviation}²) in [${low}, ${high}]`;
    assert.ok(Math.abs(got.mean - want) < 0.01 * (deviation + 0.01), `${about}: mean ${want}, got ${got.mean}`);
    assert.ok(
      Math.abs(got.variance - variance) < 0.02 * (deviation ** 2 + 0.01),
      `${about}: ${variance}, got ${got.variance}`,
    );
  }
});

test('the normal distribution and its greatest are those of the tables', () => {
  const table = [
    [0, 0.5],
    [1, 0.841344746],
    [-1.96, 0.024997895],
    [3, 0.998650102],
    [-4.5, 0.0000033977],
  ];
  for (const [z, share] of table) assert.ok(Math.abs(cumulative(z) - share) < 3e-7, `Φ(${z})`);
  assert.equal(cumulative(-100), 0);
  assert.equal(cumulative(100), 1);
  assert.equal(cumulative(Number.NEGATIVE_INFINITY), 0);
  assert.equal(cumulative(Number.POSITIVE_INFINITY), 1);
  for (const [count, mean, deviation] of [
    [1, 0, 1],
    [2, 0.56419, 0.82565],
    [4, 1.02938, 0.70122],
    [9, 1.48501, 0.59779],
  ]) {
    const got = greatestOf(count);
    assert.ok(Math.abs(got.mean - mean) < 1e-3 && Math.abs(got.deviation - deviation) < 1e-3, `${count}: ${got.mean}`);
  }
});

const SIDE = 12;
const SPEC: InputSpec = { shape: [SIDE, SIDE, 3], range: [-1, 1], resize: 'fill' };
const QUANTIZER = { clip_rules: {}, minimum_bits: {} };

/** Blocks as MobileNetV2 has them, and a concatenation: every layer with a batch norm, random weights. */
function normedNet(random: Random): { graph: Graph; weights: Weights } {
  const weights: Weights = new Map();
  const nodes: GraphNode[] = [{ op: 'input', name: 'in', inputs: [], shape: [SIDE, SIDE, 3] }];
  const put = (node: GraphNode) => nodes[nodes.push(node) - 1];
  const draw = (name: string, shape: number[], of: () => number) => {
    weights.set(name, { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, of) });
    return name;
  };
  const layer = (from: GraphNode, name: string, channels: number | null, size: number, relu: number | null | false) => {
    const [h, w, c] = from.shape;
    const unit: Pair = [1, 1];
    const common = { inputs: [from.name], kernelSize: [size, size] as Pair, bias: null, strides: unit, dilation: unit };
    const shape = [h, w, channels ?? c];
    const kernel = draw(
      `${name}/k`,
      [size, size, c, channels ?? 1],
      () => random.normal() / Math.sqrt(size * size * (channels ? c : 1)),
    );
    put({ op: channels ? 'conv2d' : 'depthwise_conv2d', name, ...common, shape, kernel, padding: 'same' });
    const norm = {
      gamma: draw(`${name}/g`, [shape[2]], () => 0.2 + random.next() * 1.3),
      beta: draw(`${name}/b`, [shape[2]], () => random.normal() * 0.5),
    };
    const stats = { mean: `${name}/m`, variance: `${name}/v`, epsilon: 1e-3, momentum: 0.9 };
    draw(stats.mean, [shape[2]], () => 0);
    draw(stats.variance, [shape[2]], () => 1);
    const last = put({ op: 'batch_norm', name: `${name}/bn`, inputs: [name], shape, ...norm, ...stats });
    if (relu === false) return last;
    return put({ op: 'relu', name: `${name}/relu`, inputs: [last.name], shape, maxValue: relu });
  };
  const stem = layer(nodes[0], 'stem', 12, 3, 6);
  const project = layer(layer(layer(stem, 'expand', 24, 1, 6), 'depthwise', null, 3, 6), 'project', 12, 1, false);
  const more = layer(layer(layer(project, 'expand2', 24, 1, 6), 'depthwise2', null, 3, 6), 'project2', 12, 1, false);
  const sum = put({ op: 'add', name: 'sum', inputs: [project.name, more.name], shape: project.shape });
  const [left, right] = [layer(sum, 'left', 8, 3, null), layer(sum, 'right', 10, 1, null)];
  const shape = [SIDE, SIDE, 18];
  const both = put({ op: 'concat', name: 'both', inputs: [left.name, right.name], shape, axis: 2 });
  const last = layer(both, 'last', 32, 1, 6);
  const pooled = put({ op: 'global_avg_pool', name: 'pooled', inputs: [last.name], shape: [32] });
  const kernel = draw('logits/k', [32, 10], () => random.normal() / Math.sqrt(32));
  put({
    op: 'dense',
    name: 'logits',
    inputs: [pooled.name],
    shape: [10],
    kernel,
    bias: draw('logits/b', [10], () => 0),
  });
  return { graph: { nodes, input: 'in', output: 'logits' }, weights };
}

/** An image with neighbours alike: a few waves and noise. */
function image(random: Random): Float32Array {
  const waves = Array.from({ length: 4 }, () => [
    random.normal(),
    random.normal() * 0.6,
    random.normal() * 0.6,
    random.next() * 6,
  ]);
  const pixels = new Float32Array(SIDE * SIDE * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [y, x, c] = [Math.floor(i / 3 / SIDE), Math.floor(i / 3) % SIDE, i % 3];
    const v = waves.reduce((sum, [a, fy, fx, p]) => sum + a * Math.sin(fy * y + fx * x + p + c), 0) * 0.4;
    pixels[i] = Math.min(Math.max(v + random.normal() * 0.15, -1), 1);
  }
  return pixels;
}

function trained(seed: number) {
  const random = new Random(seed);
  const { graph, weights } = normedNet(random);
  measureNorms(
    graph,
    weights,
    Array.from({ length: 12 }, () => image(random)),
  );
  const images = Array.from({ length: 24 }, () => image(random));
  return { graph, weights, images };
}

/** Root of the mean squared distance of the logits to the float ones, over that of the float ones to their mean. */
function errorAt(bits: Width, net: ReturnType<typeof trained>, ranges: Record<string, ActivationRange>): number {
  const source = { input: SPEC, ranges, quantizer: QUANTIZER };
  const input = Float32Array.from(net.images.flatMap((pixels) => [...pixels]));
  const run = (width: Width) =>
    runPlan(
      buildPlan(net.graph, net.weights, source, { weightBits: 8, activationBits: width }),
      input,
      net.images.length,
    );
  const [got, want] = [run(bits), run(32)];
  const mean = want.reduce((a, b) => a + b) / want.length;
  const square = (of: (v: number, i: number) => number) => want.reduce((sum, v, i) => sum + of(v, i) ** 2, 0);
  return Math.sqrt(square((v, i) => got[i] - v) / square((v) => v - mean));
}

test('behind batch norms the expected moments are those of the data', () => {
  const net = trained(5);
  const moments = tensorMoments(fuseGraph(net.graph), net.weights, SPEC);
  const runs = net.images.map((pixels) => runNaively(net.graph, net.weights, pixels));
  for (const name of ['stem/relu', 'depthwise/relu', 'project/bn', 'sum', 'left/relu', 'both', 'last/relu']) {
    const expected = moments.get(name);
    assert.ok(expected, name);
    const channels = expected.mean.length;
    let [off, total] = [0, 0];
    for (let c = 0; c < channels; c++) {
      const values = runs.flatMap((run) => [...(run.get(name) as Float64Array)].filter((_, i) => i % channels === c));
      const mean = values.reduce((a, b) => a + b) / values.length;
      const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / values.length;
      const own = momentsOf(expected, c);
      off += (own.mean - mean) ** 2 + (Math.sqrt(own.variance) - Math.sqrt(variance)) ** 2;
      total += mean ** 2 + variance;
    }
    assert.ok(off < 0.05 * total, `${name}: expected moments are off by ${Math.sqrt(off / total)} of the values`);
  }
});

test('with ranges that no data was seen for, logits at 8 bits are the float ones, about as with ranges from the data', () => {
  for (const seed of [1, 2]) {
    const net = trained(seed);
    net.images.length = 12;
    const free = dataFreeRanges(net.graph, net.weights, SPEC);
    const seen = calibrate(
      net.graph,
      net.weights,
      SPEC,
      net.images.map((input) => ({ input, batch: 1 })),
    );
    assert.deepEqual(Object.keys(free).sort(), Object.keys(seen).sort());
    const [without, withData] = [errorAt(8, net, free), errorAt(8, net, seen)];
    assert.ok(without < 0.05, `seed ${seed}: ${without} of the logits' spread at 8 bits`);
    assert.ok(without < 2.5 * withData, `seed ${seed}: ${without} without data, ${withData} with`);
    assert.ok(errorAt(4, net, free) < 2.5 * errorAt(4, net, seen), `seed ${seed}: at 4 bits`);
  }
});

test('the clip is that of the least expected squared error: a narrower or wider one is worse on draws', () => {
  const random = new Random(9);
  const one = (v: number) => Float64Array.of(v);
  const normal = { mean: one(0.3), deviation: one(1.2), low: one(0), high: one(Number.POSITIVE_INFINITY) };
  const histogram = expectedHistogram(normal);
  // Tails of a tenth of the values, as the expected distribution has them.
  const tails = () => Math.sqrt(random.chance(0.1) ? 3.7 : 0.7);
  const draws = random.normals(100_000).map((z) => Math.max(0, 0.3 + 1.2 * tails() * z));
  const loss = (high: number, bits: number) => {
    const scale = high / (2 ** bits - 1);
    return draws.reduce((sum, x) => sum + (x - scale * Math.min(Math.round(x / scale), 2 ** bits - 1)) ** 2, 0);
  };
  for (const bits of [2, 3, 4, 6]) {
    const [, best] = clipRange(histogram, bits);
    for (const other of [0.75, 1.35]) assert.ok(loss(best, bits) < loss(best * other, bits), `${bits} bits, ${other}`);
  }
});

test('every op of random nets has its ranges, finite and around zero, and gives plans at every width', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const { graph, weights } = randomNet(random, random.integer(1, 12));
    const shape = graph.nodes[0].shape as [number, number, number];
    const input: InputSpec = { shape, range: [0, 1], resize: 'fill' };
    const ranges = dataFreeRanges(graph, weights, input);
    const images = [{ input: random.normals(shape[0] * shape[1] * shape[2]), batch: 1 }];
    assert.deepEqual(Object.keys(ranges).sort(), Object.keys(calibrate(graph, weights, input, images)).sort());
    for (const [name, { min, max, clip }] of Object.entries(ranges)) {
      for (const [low, high] of [[min, max], ...Object.values(clip)]) {
        assert.ok(
          Number.isFinite(low) && Number.isFinite(high) && low <= 0 && high >= 0,
          `seed ${seed}, ${name}: [${low}, ${high}]`,
        );
      }
    }
    for (const bits of [2, 8] as const) {
      buildPlan(graph, weights, { input, ranges, quantizer: QUANTIZER }, { weightBits: bits, activationBits: bits });
    }
  }
});
