import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rankLabels, softmax, topIndices } from '../../src/serving/softmax.js';
import { Random } from '../support/random.js';

/** e^x·10^40 as a whole number, by its series in fixed point: x is exact, being a float32. */
function bigExp(x: number): bigint {
  const ONE = 10n ** 80n;
  const scaled = (BigInt(Math.round(x * 2 ** 40)) * ONE) / 2n ** 40n;
  let term = ONE;
  let sum = ONE;
  for (let n = 1n; n < 400n; n++) {
    term = (term * scaled) / (ONE * n);
    sum += term;
  }
  return sum;
}

test('softmax agrees with whole-number arithmetic of eighty digits', () => {
  const random = new Random(1);
  for (let round = 0; round < 60; round++) {
    const logits = Float32Array.from({ length: random.integer(1, 20) }, () => {
      return Math.round(random.normal() * 8 * 2 ** 16) / 2 ** 16; // exact at the 40 fraction bits of bigExp
    });
    const exact = [...logits].map(bigExp);
    const sum = exact.reduce((a, b) => a + b, 0n);
    const got = softmax(logits);
    got.forEach((p, i) => {
      const want = Number((exact[i] * 10n ** 60n) / sum) / 1e60;
      assert.ok(Math.abs(p - want) <= 1e-14 * want, `${p} instead of ${want}`);
    });
    assert.ok(Math.abs(got.reduce((a, b) => a + b, 0) - 1) < 1e-12);
  }
});

test('softmax of huge logits is finite, and reads its own row only', () => {
  const max = 3.4e38;
  assert.deepEqual([...softmax(Float32Array.of(max, -max, max))], [0.5, 0, 0.5]);
  assert.deepEqual([...softmax(Float32Array.of(9, 9, 0, 0, 9), 2, 2)], [0.5, 0.5]);
});

test('top indices are those of a stable sort, ties to the lower index', () => {
  const random = new Random(2);
  assert.deepEqual(topIndices([1, 3, 3, 2, 3], 2), [1, 2]);
  for (let round = 0; round < 300; round++) {
    const values = Array.from({ length: random.integer(1, 30) }, () => random.integer(0, 6));
    const k = random.integer(1, 35);
    const want = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
    assert.deepEqual(topIndices(values, k), want.slice(0, k));
  }
});

test('labels are ranked by logit, also where the probabilities underflow to the same zero', () => {
  const logits = Float32Array.of(99, 99, 99, 0, -2000, -1000);
  const ranked = rankLabels(logits, 3, ['x', 'y', 'z'], 5);
  assert.deepEqual(ranked, [
    { label: 'x', index: 0, probability: 1 },
    { label: 'z', index: 2, probability: 0 },
    { label: 'y', index: 1, probability: 0 },
  ]);
});
