import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeEngine } from '../../src/engine/native.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import { Random } from '../support/random.js';
import { calibrated, compare, withRule } from './native-nets.js';
import { comparePairs, convolutions, type Fill, share, skip, WIDTHS, winogradNet } from './winograd-nets.js';

const WINOGRAD = { isa: 'avx512-vnni', winograd: 'always' } as const;
test('the Winograd way equals the reference bit for bit, at every pair of widths', { skip }, async () => {
  const engines = await Promise.all([
    NativeEngine.create({ ...WINOGRAD, threads: 1 }),
    NativeEngine.create({ ...WINOGRAD, threads: 2 }),
    NativeEngine.create({ isa: WINOGRAD.isa, threads: 2 }),
  ]);
  const taken = new Set<string>();
  const alongRows = new Set<string>();
  let cases = 0;
  await comparePairs(engines, [1000, 2000, 3000, 4000, 5000], (plan, variant, { weightBits, activationBits }) => {
    cases += engines.length;
    for (const i of convolutions(plan)) {
      const { winogradBlocks, winogradRowBlocks, winogradTaken } = engines[0].inspect(variant, i);
      assert.deepEqual(winogradTaken, { square: winogradBlocks, row: winogradRowBlocks, large: 0 });
      const key = `${weightBits}x${activationBits}`;
      if (winogradBlocks > 0) taken.add(key);
      if (winogradRowBlocks > 0) alongRows.add(key);
      const op = plan.ops[i];
      assert.ok('input' in op);
      const { channels, storage } = plan.tensors[op.input];
      const bits = storage.kind === 'codes' ? storage.bits : 32;
      const blocks = Math.floor(plan.tensors[op.output].channels / 16);
      const fit = bits <= 7 && weightBits <= 6 && channels % 4 === 0;
      const what = `${key}, ${bits} bits, ${channels} channels`;
      assert.equal(winogradBlocks + winogradRowBlocks, fit ? blocks : 0, what);
      if (bits > 6) assert.equal(winogradBlocks, 0, what);
      else if (weightBits <= 4) assert.equal(winogradRowBlocks, 0, what);
    }
  });
  await Promise.all(engines.map((e) => e.close()));
  if (share === 1) {
    assert.ok(cases >= 700, `${cases} cases`);
    // Weights of 2 to 5 bits by activations of 2 to 6.
    assert.ok(taken.size >= 20, `the Winograd way should have been taken at more widths than ${[...taken]}`);
    // Weights of up to 6 bits by activations of 7, and weights of 5 and 6 by fewer.
    assert.ok(alongRows.size >= 10, `rows should have been taken at more widths than ${[...alongRows]}`);
  }
});

test('the largest sums of weights: in squares up to 4 bits, along rows up to 6, the direct way above', {
  skip,
}, async () => {
  const engine = await NativeEngine.create({ ...WINOGRAD, threads: 1 });
  for (const fill of ['same', 'turns'] as Fill[]) {
    for (const weightBits of WIDTHS) {
      for (const activationBits of [6, 7] as Width[]) {
        const random = new Random(weightBits);
        const net = calibrated(random, winogradNet(random, { height: 7, width: 9, channels: [32, 32, 32], fill }));
        const { plan, variants } = await compare([engine], net, { weightBits, activationBits }, 2);
        for (const i of convolutions(plan)) {
          const { weights, winogradBlocks, winogradRowBlocks } = engine.inspect(variants[0], i);
          const most = 2 ** (weightBits - 1);
          assert.ok(Math.max(...weights.map(Math.abs)) >= most - 1, `${fill} weights should have the largest codes`);
          const squares = weightBits <= 4 && activationBits === 6;
          const what = `${fill}, ${weightBits}x${activationBits}`;
          assert.equal(winogradBlocks, squares ? 2 : 0, what);
          assert.equal(winogradRowBlocks, weightBits <= 6 && !squares ? 2 : 0, what);
        }
      }
    }
  }
  await engine.close();
});

test('blocks of 16 rows whose codes are too large for squares go along rows, the others of the layer do not', {
  skip,
}, async () => {
  const engines = await Promise.all([1, 2].map((threads) => NativeEngine.create({ ...WINOGRAD, threads })));
  for (const [first, end, blocks] of [
    [0, 1, 4],
    [20, 21, 4],
    [16, 64, 2],
    [79, 83, 4],
    [80, 83, 5],
  ]) {
    const random = new Random(end);
    const sizes = { height: 9, width: 8, channels: [16, 83], fill: 'random' as Fill };
    const net = calibrated(random, winogradNet(random, sizes));
    const [kernel] = [...(await net.source.readWeights()).values()].filter(({ shape }) => shape[0] === 3);
    // A single weight sets each row's scale, so that the others stay small; in the large rows all are as large as it.
    kernel.data.forEach((w, i) => {
      const row = i % 83;
      kernel.data[i] = (row >= first && row < end) || i < 83 ? 1 : 0.1 * Math.sign(w);
    });
    const precision: Precision = { weightBits: 6, activationBits: 6 };
    const ruled = { ...net, source: withRule(net.source, precision, 'min-max') };
    const { plan, variants } = await compare(engines, ruled, precision, 3);
    const [i] = convolutions(plan);
    const { winogradBlocks, winogradRowBlocks } = engines[0].inspect(variants[0], i);
    assert.deepEqual([winogradBlocks, winogradRowBlocks], [blocks, 5 - blocks], `rows ${first} to ${end} are large`);
  }
  await Promise.all(engines.map((e) => e.close()));
});

test('an image of more tiles than are transformed at a time goes by parts', { skip }, async () => {
  const engines = await Promise.all([1, 2].map((threads) => NativeEngine.create({ ...WINOGRAD, threads })));
  const random = new Random(4);
  const net = calibrated(
    random,
    winogradNet(random, { height: 71, width: 53, channels: [36, 36, 36], fill: 'random' }),
  );
  const squares = await compare(engines, net, { weightBits: 4, activationBits: 4 }, 2);
  const rows = await compare(engines, net, { weightBits: 6, activationBits: 7 }, 2);
  for (const i of convolutions(squares.plan)) {
    assert.equal(engines[0].inspect(squares.variants[0], i).winogradBlocks, 2);
    assert.equal(engines[0].inspect(rows.variants[0], i).winogradRowBlocks, 2);
  }
  await Promise.all(engines.map((e) => e.close()));
});

test('a layer whose sums, times 4, could leave int32 goes the direct way', { skip }, async () => {
  const engine = await NativeEngine.create({ ...WINOGRAD, threads: 1 });
  const precision: Precision = { weightBits: 4, activationBits: 6 };
  // 9 codes of -8 by inputs of up to 63 by 4: 118 357 channels are the most.
  for (const channels of [118_356, 118_360]) {
    const random = new Random(3);
    const sizes = { height: 1, width: 1, channels: [channels, 16], fill: 'same' as Fill };
    const net = calibrated(random, winogradNet(random, sizes));
    const { plan, variants } = await compare(
      [engine],
      { ...net, source: withRule(net.source, precision, 'min-max') },
      precision,
      1,
    );
    const { winogradBlocks } = engine.inspect(variants[0], convolutions(plan)[0]);
    assert.equal(winogradBlocks, channels < 118_357 ? 1 : 0, `${channels} channels`);
    engine.release(variants[0]);
  }
  await engine.close();
});
