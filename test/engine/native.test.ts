import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeEngine } from '../../src/engine/native.js';
import { runPlan } from '../../src/engine/reference.js';
import { buildPlan } from '../../src/quantize/build.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import { Random } from '../support/random.js';
import { additionNet, calibrated, depthwiseNet, findLibrary, type TestNet, testNet } from './native-nets.js';

const { library, skip } = findLibrary();
const isas = library?.isas() ?? [];
/** BITDIAL_TEST_SHARE: a fraction of the cases, for runs under sanitizers. */
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);
const seeds = (count: number) => Array.from({ length: Math.ceil(count * share) }, (_, i) => i + 1);

function bytesOf(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

test('integer plans: every instruction set equals the reference bit for bit, at every width', { skip }, async () => {
  const engines = await Promise.all(isas.map((isa) => NativeEngine.create({ threads: 2, isa })));
  const pairs = new Set<string>();
  const ops = new Set<string>();
  let cases = 0;
  for (const seed of seeds(200)) {
    const net = netOf(seed);
    const { source, draw, random } = net;
    const weights = await source.readWeights();
    for (let i = 0; i < 4; i++) {
      const precision: Precision = {
        weightBits: random.integer(2, 8) as Width,
        activationBits: random.integer(2, 8) as Width,
      };
      const batch = random.pick([1, 1, 2, 3, 7, 8, 9, 17]);
      const plan = buildPlan(source.graph, weights, source.manifest, precision);
      const input = draw(batch);
      const want = runPlan(plan, input, batch);
      pairs.add(`${precision.weightBits}x${precision.activationBits}`);
      for (const op of plan.ops) ops.add(op.op);
      for (const engine of engines) {
        const variant = await engine.build(source, precision);
        const { logits } = await engine.run(variant, input, batch);
        cases++;
        assert.ok(
          bytesOf(logits).equals(bytesOf(want)),
          `${engine.name}, seed ${seed}, ${precision.weightBits}x${precision.activationBits}, batch ${batch}: ` +
            `expected ${want}, got ${logits}`,
        );
        engine.release(variant);
      }
    }
  }
  await Promise.all(engines.map((e) => e.close()));
  if (share === 1) {
    assert.ok(cases >= 1200, `${cases} cases`);
    assert.ok(pairs.size >= 45, `most pairs of widths should have come up, these did: ${[...pairs]}`);
    assert.equal(ops.size, 9, `every op should have come up, these did: ${[...ops]}`);
  }
});

test('float and mixed plans: every instruction set is near the reference', { skip }, async () => {
  const engines = await Promise.all(isas.map((isa) => NativeEngine.create({ threads: 2, isa })));
  for (const seed of seeds(100)) {
    const { source, draw, random } = seed % 4 === 0 ? depthwiseTest(1000 + seed) : testNet(1000 + seed, 10);
    const weights = await source.readWeights();
    const weightBits = random.pick([2, 3, 5, 8, 16, 32] as const);
    const activationBits = weightBits > 8 ? random.pick([8, 16, 32] as const) : random.pick([16, 32] as const);
    const batch = random.pick([1, 2, 5, 9]);
    const plan = buildPlan(source.graph, weights, source.manifest, { weightBits, activationBits });
    const input = draw(batch);
    const want = runPlan(plan, input, batch);
    const norm = want.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-3);
    // Tensors that are stored at fewer bits can fall on the other side of a rounding.
    const tolerance = { 8: 5e-2, 16: 2e-3, 32: 1e-4 }[activationBits] * norm;
    for (const engine of engines) {
      const variant = await engine.build(source, { weightBits, activationBits });
      const { logits } = await engine.run(variant, input, batch);
      logits.forEach((v, i) => {
        assert.ok(
          Math.abs(v - want[i]) <= tolerance,
          `${engine.name}, seed ${seed}, ${weightBits}x${activationBits}: expected ${want[i]}, got ${v}`,
        );
      });
      engine.release(variant);
    }
  }
  await Promise.all(engines.map((e) => e.close()));
});

test('answers do not depend on how many threads share the work', { skip }, async () => {
  const engines = await Promise.all([1, 2, 5].map((threads) => NativeEngine.create({ threads })));
  for (const seed of seeds(10)) {
    const { source, draw } = wideNet(seed);
    const precision: Precision = { weightBits: ([2, 3, 4, 5, 8] as const)[seed % 5], activationBits: 8 };
    const weights = await source.readWeights();
    for (const batch of [1, 13]) {
      const input = draw(batch);
      const want = bytesOf(runPlan(buildPlan(source.graph, weights, source.manifest, precision), input, batch));
      for (const engine of engines) {
        const variant = await engine.build(source, precision);
        for (let i = 0; i < 5; i++) {
          const { logits } = await engine.run(variant, input, batch);
          assert.ok(bytesOf(logits).equals(want), `seed ${seed}, batch ${batch}, ${engine.name}`);
        }
        engine.release(variant);
      }
    }
  }
  await Promise.all(engines.map((e) => e.close()));
});

function depthwiseTest(seed: number): TestNet {
  const random = new Random(seed);
  return calibrated(random, depthwiseNet(random));
}

/** Mostly nets of every op and few channels; some of many channels, of depthwise layers, of additions that join no layer. */
function netOf(seed: number): TestNet {
  const random = new Random(seed);
  if (seed % 16 === 0) return calibrated(random, additionNet(random));
  if (seed % 4 === 2) return depthwiseTest(seed);
  if (seed % 8 !== 4) return testNet(seed, 10);
  const layer = () => ({
    channels: random.integer(12, 90),
    kernel: random.integer(1, 3),
    stride: random.integer(1, 3),
  });
  return testNet(seed, 0, [layer(), layer(), layer()]);
}

/** A net of a few million multiplications, which a team of threads shares at batch 1; 3 channels are gathered. */
function wideNet(seed: number) {
  return testNet(seed, 0, [
    { channels: 40, kernel: 3, stride: 1 },
    { channels: 132, kernel: 3, stride: 1 },
    { channels: 132, kernel: 3, stride: 1, depthwise: true },
    { channels: 67, kernel: 3, stride: 2 },
    { channels: 132, kernel: 1, stride: 1 },
  ]);
}
