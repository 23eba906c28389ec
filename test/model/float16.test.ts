import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromFloat16, roundToFloat16, toFloat16 } from '../../src/model/float16.js';
import { Random } from '../support/random.js';

test('every finite float16 comes back', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = fromFloat16(bits);
    if (!Number.isFinite(value)) continue;
    assert.equal(toFloat16(value), Object.is(value, -0) ? 0x8000 : bits);
  }
});

test('rounding goes to the nearest, ties to even', () => {
  const finite = Array.from({ length: 0x7c00 }, (_, bits) => fromFloat16(bits));
  const random = new Random(3);
  for (let i = 0; i < 20000; i++) {
    const at = random.integer(0, finite.length - 2);
    const [low, high] = [finite[at], finite[at + 1]];
    const value = Math.fround(low + (high - low) * random.next());
    const want = value - low < high - value ? low : value - low > high - value ? high : at % 2 === 0 ? low : high;
    assert.equal(roundToFloat16(value), want, `${value} between ${low} and ${high}`);
    assert.equal(roundToFloat16(-value), -want);
  }
  for (let at = 0; at < finite.length - 1; at += 7) {
    const middle = (finite[at] + finite[at + 1]) / 2;
    assert.equal(roundToFloat16(middle), finite[at + (at % 2)]);
  }
});

test('what overflows saturates', () => {
  assert.equal(roundToFloat16(1e9), 65504);
  assert.equal(roundToFloat16(-65520), -65504);
});
