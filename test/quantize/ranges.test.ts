import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activationRange, codesParameters, Histogram } from '../../src/quantize/ranges.js';
import { Random } from '../support/random.js';

function histogramOf(values: Float32Array): Histogram {
  const histogram = new Histogram(Math.min(...values), Math.max(...values));
  histogram.add(values);
  return histogram;
}

test('a clip never does worse than the whole range, and fewer bits clip more', () => {
  const random = new Random(8);
  for (let n = 0; n < 10; n++) {
    const values = random.normals(3000).map((v) => (n % 2 === 0 ? Math.max(v, 0) : v));
    const histogram = histogramOf(values);
    const { clip } = activationRange(histogram);
    for (let bits = 2; bits <= 8; bits++) {
      const whole = histogram.squaredError(codesParameters(histogram.min, histogram.max, bits));
      const clipped = histogram.squaredError(codesParameters(...clip[bits], bits));
      assert.ok(clipped <= whole, `${bits} bits: ${clipped} > ${whole}`);
    }
    const width = (bits: number) => clip[bits][1] - clip[bits][0];
    assert.ok(width(2) < width(8), 'two bits clip more than eight');
  }
});

test('zero is a code, and what cannot be negative has zero point 0', () => {
  const random = new Random(9);
  for (let n = 0; n < 500; n++) {
    const bits = random.integer(2, 8);
    const [a, b] = [random.normal() * 5, random.normal() * 5];
    const { scale, zeroPoint } = codesParameters(Math.min(a, b), Math.max(a, b), bits);
    assert.ok(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint < 2 ** bits);
    assert.ok(scale > 0 && Math.fround(scale) === scale);
    if (Math.min(a, b) >= 0) assert.equal(zeroPoint, 0);
  }
  assert.deepEqual(codesParameters(0, 0, 4), { bits: 4, scale: 1, zeroPoint: 0 });
});
