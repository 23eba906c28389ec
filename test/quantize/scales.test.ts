import assert from 'node:assert/strict';
import { test } from 'node:test';
import { channelScale, minMaxScale, quantizationError, quantizeChannel } from '../../src/quantize/scales.js';
import { Random } from '../support/random.js';

/** Channels as trained nets have them: normal, skewed, heavy-tailed, tiny, constant. */
function channels(random: Random, count: number): Float32Array[] {
  return Array.from({ length: count }, (_, i) => {
    const length = random.integer(1, 300);
    const scale = 10 ** random.integer(-5, 2);
    if (i % 5 === 0) return random.normals(length, scale).map((v) => v ** 3 / scale ** 2);
    if (i % 5 === 1) return random.normals(length, scale).map(Math.abs);
    if (i % 5 === 2) return new Float32Array(length).fill(-scale);
    return random.normals(length, scale);
  });
}

function dequantized(w: Float32Array, scale: number, bits: number): Float64Array {
  const codes = new Int8Array(w.length);
  quantizeChannel(w, scale, bits, codes);
  return Float64Array.from(codes, (c) => c * scale);
}

test('inside the range the error is at most half a step', () => {
  const random = new Random(4);
  for (let bits = 2; bits <= 8; bits++) {
    for (const w of channels(random, 100)) {
      for (const rule of ['min-max', 'squared-error', 'p-2.4'] as const) {
        const scale = channelScale(w, bits, rule);
        const ends = [-(2 ** (bits - 1)) * scale, (2 ** (bits - 1) - 1) * scale].sort((a, b) => a - b);
        const back = dequantized(w, scale, bits);
        w.forEach((v, i) => {
          if (v < ends[0] || v > ends[1]) {
            assert.equal(back[i], v < ends[0] ? ends[0] : ends[1], 'outside, the nearest end');
          } else {
            assert.ok(
              Math.abs(v - back[i]) <= Math.abs(scale) * 0.50002,
              `${bits} bits, ${rule}: ${v} became ${back[i]}`,
            );
          }
        });
      }
    }
  }
});

test('min-max clips nothing', () => {
  const random = new Random(5);
  for (let bits = 2; bits <= 8; bits++) {
    for (const w of channels(random, 60)) {
      const scale = channelScale(w, bits, 'min-max');
      const back = dequantized(w, scale, bits);
      w.forEach((v, i) => {
        assert.ok(Math.abs(v - back[i]) <= Math.abs(scale) * 0.50002);
      });
    }
  }
});

test('the least squared error is never more than that of min-max, in float64 too', () => {
  const random = new Random(6);
  let better = 0;
  for (let bits = 2; bits <= 8; bits++) {
    for (const w of channels(random, 100)) {
      const error = (scale: number) => dequantized(w, scale, bits).reduce((sum, v, i) => sum + (w[i] - v) ** 2, 0);
      const least = error(channelScale(w, bits, 'squared-error'));
      const plain = error(channelScale(w, bits, 'min-max'));
      assert.ok(least <= plain * 1.00001 + 1e-30, `${bits} bits: ${least} > ${plain}`);
      if (least < plain * 0.9) better++;
    }
  }
  assert.ok(better > 150, `the search should help often, it did ${better} times`);
});

test('the search comes near the best scale of a fine grid', () => {
  const random = new Random(7);
  for (const bits of [2, 3, 4, 8]) {
    for (let n = 0; n < 10; n++) {
      const w = random.normals(256);
      const found = quantizationError(w, channelScale(w, bits, 'squared-error'), bits, 2);
      let best = Number.POSITIVE_INFINITY;
      for (const sign of [1, -1] as const) {
        const top = minMaxScale(w, bits, sign);
        for (let i = 1; i <= 1000; i++)
          best = Math.min(best, quantizationError(w, Math.fround((top * i) / 1000), bits, 2));
      }
      assert.ok(found <= best * 1.15, `${bits} bits: found ${found}, grid ${best}`);
    }
  }
});

test('zeros and denormals have scale 1 and codes 0', () => {
  for (const w of [new Float32Array(5), new Float32Array([1e-40, 0, -1e-42])]) {
    assert.equal(channelScale(w, 4, 'squared-error'), 1);
    const codes = new Int8Array(w.length);
    quantizeChannel(w, 1, 4, codes);
    assert.deepEqual([...codes], w.length === 5 ? [0, 0, 0, 0, 0] : [0, 0, 0]);
  }
});
