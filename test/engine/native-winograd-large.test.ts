import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calibrate } from '../../src/engine/calibration.js';
import type { Variant } from '../../src/engine/engine.js';
import { NativeEngine } from '../../src/engine/native.js';
import { buildPlan } from '../../src/quantize/build.js';
import type { Plan } from '../../src/quantize/plan.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import { Random } from '../support/random.js';
import { calibrated, chain, compare, type TestNet, withRule } from './native-nets.js';
import { comparePairs, convolutions, share, skip, winogradNet } from './winograd-nets.js';

const create = (threads: number) => NativeEngine.create({ isa: 'avx512-vnni', winograd: 'always-large', threads });

/** Blocks of 16 rows that go in large squares, of the plan's 3×3 convolutions. */
function largeBlocks(engine: NativeEngine, plan: Plan, variant: Variant): number[] {
  return convolutions(plan).map((i) => {
    const { winogradLargeBlocks, winogradTaken } = engine.inspect(variant, i);
    assert.deepEqual(winogradTaken, { square: 0, row: 0, large: winogradLargeBlocks });
    return winogradLargeBlocks;
  });
}

test('large squares equal the reference bit for bit, at every pair of widths', { skip }, async () => {
  const engines = await Promise.all([create(1), create(2)]);
  let [taken, residuals] = [0, 0];
  await comparePairs(engines, [5000, 10_000, 15_000, 20_000], (plan, variant, { weightBits, activationBits }) => {
    const large = largeBlocks(engines[0], plan, variant);
    for (const [n, i] of convolutions(plan).entries()) {
      const op = plan.ops[i];
      assert.ok(op.op === 'conv2d');
      const blocks = Math.floor(plan.tensors[op.output].channels / 16);
      const fit = plan.tensors[op.input].channels % 4 === 0;
      assert.equal(large[n], fit ? blocks : 0, `${weightBits}x${activationBits}`);
      if (large[n] > 0) taken++;
      if (large[n] > 0 && op.residual) residuals++;
    }
  });
  await Promise.all(engines.map((e) => e.close()));
  if (share < 1) return;
  assert.ok(taken >= 300, `${taken} convolutions went in large squares`);
  assert.ok(residuals >= 30, `${residuals} of them had a residual`);
});

test('an image of more tiles than are transformed at a time goes by parts in large squares', { skip }, async () => {
  const engines = await Promise.all([create(1), create(2)]);
  const random = new Random(4);
  const sizes = { height: 107, width: 93, channels: [36, 36, 36], fill: 'random' as const };
  const net = calibrated(random, winogradNet(random, sizes));
  const { plan, variants } = await compare(engines, net, { weightBits: 8, activationBits: 8 }, 2);
  assert.deepEqual(largeBlocks(engines[0], plan, variants[0]), [2, 2]);
  await Promise.all(engines.map((e) => e.close()));
});

/** Inputs of the least or the largest code, weights of the largest: in rows up to `mixed` half of each sign, beyond of one. */
function extremes(channels: number, mixed: number): TestNet {
  const random = new Random(channels);
  const shape: [number, number, number] = [6, 7, channels];
  const layers = [
    { channels: 32, kernel: 3, stride: 1 },
    { channels: 10, kernel: 1, stride: 1 },
  ];
  const { graph, weights } = chain(random, layers, shape);
  weights.get('conv1/k')?.data.forEach((_, i, data) => {
    const row = i % 32;
    const turned = row < mixed && Math.floor(i / 32) % 2 === 1;
    data[i] = (row % 2 === 0) === turned ? 0.1 : -0.1;
  });
  const input = { shape, range: [0, 1] as [number, number], resize: 'fill' as const };
  const size = shape.reduce((a, b) => a * b, 1);
  // All inputs are the largest, or those only that meet weights of one sign.
  const draw = (batch: number) =>
    Float32Array.from({ length: batch * size }, (_, i) => [1, (i + 1) % 2, i % 2][Math.floor(i / size) % 3]);
  const ranges = calibrate(graph, weights, input, [{ input: draw(3), batch: 3 }]);
  const manifest = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
  return { source: { graph, folder: '', manifest, readWeights: async () => weights }, draw, random };
}

test('a block whose sums could leave ±2^25 does not go in large squares, and the largest that do are exact', {
  skip,
}, async () => {
  const engines = await Promise.all([create(1), create(2)]);
  const precision: Precision = { weightBits: 8, activationBits: 8 };
  // Nine codes of 128 by inputs of up to 255: 114 channels of one sign are the most, and twice as many of both.
  for (const [channels, mixed, blocks] of [
    [112, 0, 2],
    [116, 0, 0],
    [116, 16, 1],
    [116, 32, 2],
    [228, 16, 1],
    [228, 32, 2],
    [232, 32, 0],
  ]) {
    const net = extremes(channels, mixed);
    const ruled = { ...net, source: withRule(net.source, precision, 'min-max') };
    const { plan, variants } = await compare(engines, ruled, precision, 3);
    assert.deepEqual(largeBlocks(engines[0], plan, variants[0]), [blocks], `${channels} channels, ${mixed} rows mixed`);
    engines.forEach((engine, i) => {
      engine.release(variants[i]);
    });
  }
  await Promise.all(engines.map((e) => e.close()));
});

test('of the ways that suit, the one with the least time is taken, the direct one where none gains much', {
  skip,
}, async () => {
  const engine = await NativeEngine.create({ isa: 'avx512-vnni', threads: 1 });
  const ways = async (side: number, channels: number, bits: Width, images: number) => {
    const sizes = { height: side, width: side, channels: [channels, channels], fill: 'random' as const };
    const { source } = calibrated(new Random(side), winogradNet(new Random(1), sizes));
    const precision: Precision = { weightBits: bits, activationBits: bits };
    const variant = await engine.build(source, precision);
    const { ops } = buildPlan(source.graph, await source.readWeights(), source.manifest, precision);
    const { winogradTaken } = engine.inspect(variant, convolutions({ ops })[0], images);
    engine.release(variant);
    return Object.entries(winogradTaken)
      .filter(([, blocks]) => blocks > 0)
      .map(([form]) => form);
  };
  assert.deepEqual(await ways(32, 64, 8, 1), ['large']);
  assert.deepEqual(await ways(32, 64, 7, 1), ['large']);
  assert.deepEqual(await ways(32, 64, 4, 1), ['square']);
  assert.deepEqual(await ways(4, 256, 8, 32), ['large']);
  // One tile and sixteen pixels do not pay for transforming the weights.
  assert.deepEqual(await ways(4, 256, 8, 1), []);
  await engine.close();
});
