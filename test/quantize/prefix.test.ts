import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPlan } from '../../src/engine/reference.js';
import { buildFused, buildPlan } from '../../src/quantize/build.js';
import { quantizerChoice } from '../../src/quantize/choice.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import type { PlanTensor } from '../../src/quantize/plan.js';
import type { Precision } from '../../src/quantize/precision.js';
import { prefixTo } from '../../src/quantize/prefix.js';
import { tensorStorages } from '../../src/quantize/storage.js';
import { testNet } from '../engine/native-nets.js';

test('a prefix gives a layer as the whole net has it, before it is clamped and rounded', async () => {
  let layers = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const { source, random, draw } = testNet(7000 + seed, 8);
    const weights = await source.readWeights();
    const precision: Precision = { weightBits: random.pick([2, 4, 8]), activationBits: random.pick([3, 4, 8]) };
    const fused = fuseGraph(source.graph);
    const input = draw(2);
    const stored = new Map<string, { tensor: PlanTensor; codes: ArrayLike<number> }>();
    runPlan(buildPlan(source.graph, weights, source.manifest, precision), input, 2, (tensor, codes) => {
      stored.set(tensor.name, { tensor, codes: codes.slice() });
    });
    for (const op of fused.ops) {
      if (op.kind === 'other' || (op.kind === 'linear' && op.residual !== null)) continue;
      const plan = buildFused(prefixTo(fused, op), weights, source.manifest, precision, new Map());
      const values = runPlan(plan, input, 2);
      const { tensor, codes } = stored.get(op.output) as { tensor: PlanTensor; codes: ArrayLike<number> };
      if (tensor.storage.kind !== 'codes') continue;
      const { scale, zeroPoint, bits } = tensor.storage;
      const high = Math.min(op.bounds.high / scale, 2 ** bits - 1 - zeroPoint);
      values.forEach((v, i) => {
        const expected = Math.min(Math.max(v / scale, op.bounds.low / scale, -zeroPoint), high) + zeroPoint;
        assert.ok(
          Math.abs(codes[i] - expected) <= 0.5 + 1e-4,
          `seed ${seed}, ${op.output}: ${codes[i]}, not ${expected}`,
        );
      });
      layers++;
    }
  }
  assert.ok(layers > 80, `${layers} layers`);
});

test('what was not chosen for a precision is the least squared error', () => {
  const bias_corrections = { layers: [{ name: 'f', channels: 1 }], offsets: { '4x4': 0, '16x4': 4 } };
  const quantizer = {
    clip_rules: { '4x4': 'min-max' as const },
    range_factors: { '4x4': 0.8 },
    bias_corrections,
    minimum_bits: {},
  };
  const choice = (weightBits: 4 | 16, activationBits: 4 | 5 | 32) =>
    quantizerChoice(quantizer, { weightBits, activationBits });
  assert.deepEqual(choice(4, 4), { clipRule: 'min-max', rangeFactor: 0.8, biasCorrection: true });
  assert.deepEqual(choice(4, 5), { clipRule: 'squared-error', rangeFactor: 1, biasCorrection: false });
  assert.deepEqual(choice(16, 4), { clipRule: null, rangeFactor: 1, biasCorrection: false });
  assert.deepEqual(choice(4, 32), { clipRule: 'squared-error', rangeFactor: null, biasCorrection: false });
  const old = { clip_rules: {}, minimum_bits: {} };
  const plain = { clipRule: 'squared-error', rangeFactor: 1, biasCorrection: false };
  assert.deepEqual(quantizerChoice(old, { weightBits: 4, activationBits: 4 }), plain);
});

test('a range factor moves the clip, but not past what was observed', () => {
  const { source } = testNet(3, 6);
  const fused = fuseGraph(source.graph);
  const precision: Precision = { weightBits: 4, activationBits: 4 };
  const scales = (factor: number) => {
    const quantizer = { ...source.manifest.quantizer, range_factors: { '4x4': factor } };
    const storages = tensorStorages(fused, { ...source.manifest, quantizer }, precision);
    return [...fused.tensors.values()].flatMap(({ name, rangeOf, role, storageOf }) => {
      const storage = storages.get(name);
      const named = role === 'activation' && storageOf === null && storage?.kind === 'codes';
      return named ? [{ scale: storage.scale, range: source.manifest.ranges[rangeOf] }] : [];
    });
  };
  const plain = scales(1);
  assert.ok(plain.length > 0);
  scales(0.8).forEach(({ scale }, i) => {
    assert.ok(Math.abs(scale / plain[i].scale - 0.8) < 1e-5);
  });
  for (const { scale, range } of scales(50)) {
    assert.ok(Math.abs(scale - (Math.max(range.max, 0) - Math.min(range.min, 0)) / 15) < 1e-6);
  }
});
