import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packCodes, packedBytes, unpackCodes } from '../../src/quantize/packing.js';
import { Random } from '../support/random.js';

test('every width and odd lengths come back as they went in', () => {
  const random = new Random(1);
  for (let bits = 2; bits <= 8; bits++) {
    for (const length of [1, 2, 3, 5, 7, 8, 9, 13, 31, 64, 101, 1023]) {
      const low = -(2 ** (bits - 1));
      const codes = Int8Array.from({ length }, () => random.integer(low, -low - 1));
      const packed = new Uint8Array(packedBytes(length, bits));
      packCodes(codes, bits, packed);
      const back = new Int8Array(length);
      unpackCodes(packed, bits, 0, length, back);
      assert.deepEqual(back, codes, `${bits} bits, ${length} codes`);
      assert.equal(packed.length, Math.ceil((length * bits) / 8));
    }
  }
});

test('rows follow one another without gaps and are read from any position', () => {
  const random = new Random(2);
  for (let bits = 2; bits <= 8; bits++) {
    const [rows, columns] = [7, 11];
    const low = -(2 ** (bits - 1));
    const matrix = Array.from({ length: rows }, () =>
      Int8Array.from({ length: columns }, () => random.integer(low, -low - 1)),
    );
    const packed = new Uint8Array(packedBytes(rows * columns, bits));
    matrix.forEach((row, r) => {
      packCodes(row, bits, packed, r * columns);
    });
    for (let r = rows - 1; r >= 0; r--) {
      const row = new Int8Array(columns);
      unpackCodes(packed, bits, r * columns, columns, row);
      assert.deepEqual(row, matrix[r]);
    }
  }
});

test('the layout is the documented one', () => {
  const packed = new Uint8Array(2);
  packCodes(Int8Array.of(-4, -3, 3, 0), 3, packed);
  // Stored 0, 1, 7, 4: 000 001 111 100 from the least significant bit on.
  assert.deepEqual([...packed], [0b11001000, 0b1001]);
});
