import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeEngine } from '../../src/engine/native.js';
import type { Width } from '../../src/quantize/precision.js';
import { Random } from '../support/random.js';
import { type Convolution, calibrated, chain, compare, findLibrary } from './native-nets.js';
import { winogradNet } from './winograd-nets.js';

const { library, skip: missing } = findLibrary();
const skip = missing || (library?.isas().includes('amx') ? false : 'this processor has no AMX');
/** BITDIAL_TEST_SHARE: a fraction of the cases, for runs under sanitizers. */
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);
const WIDTHS: Width[] = [2, 3, 4, 5, 6, 7, 8];

/** Channels whose runs are whole steps of 64 inputs, and others: those patches are gathered. */
const channels = (random: Random) => (random.chance(0.5) ? 64 * random.integer(1, 2) : random.integer(6, 100));
/** Lines of whole tiles of 16 pixels, and others. */
const side = (random: Random) => (random.chance(0.4) ? 16 : random.integer(3, 11));

function net(random: Random) {
  if (random.chance(0.5)) {
    const layers = Array.from({ length: 2 }, () => channels(random));
    return winogradNet(random, {
      height: random.integer(3, 11),
      width: side(random),
      channels: layers,
      fill: 'random',
    });
  }
  const convolution = (): Convolution => ({
    channels: channels(random),
    kernel: random.pick([1, 1, 2, 3, 5]),
    stride: random.pick([1, 1, 1, 2, 3]),
  });
  return chain(random, [convolution(), convolution()], [random.integer(3, 11), side(random), random.pick([3, 64])]);
}

test('tiles: whole, gathered and overlapping ones equal the reference bit for bit, at every pair of widths', {
  skip,
}, async () => {
  const engines = await Promise.all([1, 2].map((threads) => NativeEngine.create({ threads, isa: 'amx' })));
  let cases = 0;
  for (let seed = 1; seed <= 3; seed++) {
    for (const weightBits of WIDTHS) {
      for (const activationBits of WIDTHS) {
        const random = new Random(5000 * seed + 10 * weightBits + activationBits);
        if (!random.chance(share)) continue;
        const batch = random.pick([1, 1, 2, 3, 7]);
        const { variants } = await compare(
          engines,
          calibrated(random, net(random)),
          { weightBits, activationBits },
          batch,
        );
        engines.forEach((engine, i) => {
          engine.release(variants[i]);
        });
        cases += engines.length;
      }
    }
  }
  await Promise.all(engines.map((e) => e.close()));
  if (share === 1) assert.equal(cases, 294);
});

test('tiles: dense layers of many images, of inputs that lie apart by the size of a cache and others', {
  skip,
}, async () => {
  const engines = await Promise.all([1, 2].map((threads) => NativeEngine.create({ threads, isa: 'amx' })));
  for (const inputs of [50, 1000, 2048, 4096, 8192]) {
    for (const batch of [15, 16, 17, 31, 32, 33, 49]) {
      const random = new Random(inputs + batch);
      const weightBits = random.pick(WIDTHS);
      const layers = [64, random.integer(20, 90)].map((of) => ({ channels: of, kernel: 1, stride: 1 }));
      // A convolution of a single pixel is a dense layer.
      const { variants } = await compare(
        engines,
        calibrated(random, chain(random, layers, [1, 1, inputs])),
        { weightBits, activationBits: 8 },
        batch,
      );
      engines.forEach((engine, i) => {
        engine.release(variants[i]);
      });
    }
  }
  await Promise.all(engines.map((e) => e.close()));
});
