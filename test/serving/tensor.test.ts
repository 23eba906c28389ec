import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { InputSpec } from '../../src/model/manifest.js';
import { readInput } from '../../src/serving/input.js';
import type { TensorBody } from '../../src/serving/request.js';
import { refused } from './fixtures.js';

const SPEC: InputSpec = { shape: [2, 2, 3], range: [-1, 1], resize: 'fill' };
const LIMITS = { maxBatch: 4, maxImagePixels: 10_000 };
const read = (dtype: TensorBody['dtype'], shape: number[], data: TensorBody['data'], spec = SPEC) =>
  readInput({ kind: 'tensor', dtype, shape, data }, spec, LIMITS);

/** Two images. */
const pixels = Uint8Array.from({ length: 24 }, (_, i) => i * 10);
const floats = Float32Array.from(pixels, (p) => -1 + (p / 255) * 2);
const nested = [0, 1].map((n) => [0, 1].map((y) => [0, 1].map((x) => cell(((n * 2 + y) * 2 + x) * 3))));
function cell(at: number): number[] {
  return [...pixels.subarray(at, at + 3)];
}

test('pixels: bytes, flat or nested values; floats the same', async () => {
  const expected = { input: floats, batch: 2 };
  const shape = [2, 2, 2, 3];
  assert.deepEqual(await read('uint8', shape, { bytes: pixels }), expected);
  assert.deepEqual(await read('uint8', shape, { values: [...pixels] }), expected);
  assert.deepEqual(await read('uint8', shape, { values: nested }), expected);
  assert.deepEqual(await read('float32', shape, { values: [...floats] }), expected);
  // behind a JSON of any length, so at any address
  for (const offset of [0, 1, 2, 3]) {
    const bytes = new Uint8Array(floats.byteLength + offset);
    bytes.set(new Uint8Array(floats.buffer), offset);
    assert.deepEqual(await read('float32', shape, { bytes: bytes.subarray(offset) }), expected);
  }
});

test('pixels are red, green, blue, also for a model that takes them the other way round', async () => {
  const spec: InputSpec = { ...SPEC, shape: [1, 1, 3], range: [0, 255], channel_order: 'bgr' };
  const { input } = await read('uint8', [1, 1, 1, 3], { bytes: Uint8Array.of(1, 2, 3) }, spec);
  assert.deepEqual([...input], [3, 2, 1]);
});

test('files, each with its length before it, or as base64; their order is kept', async () => {
  const files = await Promise.all(
    [pixels.subarray(0, 12), pixels.subarray(12)].map((image) =>
      sharp(image, { raw: { width: 2, height: 2, channels: 3 } })
        .png()
        .toBuffer(),
    ),
  );
  const bytes = Buffer.concat(files.flatMap((file) => [Buffer.from(Uint32Array.of(file.length).buffer), file]));
  const base64 = files.map((file) => file.toString('base64'));
  for (const [shape, data] of [
    [[2], { bytes }],
    [[2, 1], { bytes }],
    [[2], { values: base64 }],
    [[2, 1], { values: base64 }],
    [[2, 1], { values: base64.map((text) => [text]) }],
  ] as const) {
    assert.deepEqual(await read('files', [...shape], data), { input: floats, batch: 2 });
  }
});

test('a shape that is not the model’s, and data that is not of the shape', async () => {
  const bytes = new Uint8Array(24);
  const values = [...pixels];
  await refused(read('uint8', [2, 2, 2], { bytes }), 'wrong_shape');
  await refused(read('uint8', [24], { bytes }), 'wrong_shape');
  await refused(read('uint8', [-2, 2, 2, 3], { bytes }), 'wrong_shape');
  await refused(read('uint8', [2, 3, 2, 2], { bytes }), 'wrong_shape');
  await refused(read('uint8', [1, 2, 2, 3], { bytes }), 'wrong_shape');
  await refused(read('float32', [2, 2, 2, 3], { bytes }), 'wrong_shape');
  await refused(read('uint8', [5, 2, 2, 3], { bytes: new Uint8Array(60) }), 'batch_too_large');
  await refused(read('uint8', [Number.MAX_SAFE_INTEGER, 2, 2, 3], { values }), 'batch_too_large');
  await refused(read('uint8', [2, 2, 2, 3], { values: values.slice(1) }), 'wrong_shape');
  await refused(read('uint8', [2, 2, 2, 3], { values: [nested[0]] }), 'wrong_shape');
  await refused(read('uint8', [2, 2, 2, 3], { values: nested.flat() }), 'wrong_shape');
  await refused(read('uint8', [2, 2, 2, 3], { values: 'text' }), 'invalid_field');
  await refused(read('uint8', [2, 2, 2, 3], { values: [1.5, ...values.slice(1)] }), 'out_of_range');
  await refused(read('float32', [2, 2, 2, 3], { values: [2, ...values.slice(1)] }), 'out_of_range');
  const error = await refused(
    read('uint8', [2, 2, 2, 3], {
      values: [
        nested[0],
        [
          [
            [0, 0, 0],
            [0, -1, 0],
          ],
          nested[1][1],
        ],
      ],
    }),
    'out_of_range',
  );
  assert.match(error.message, /^data\[1\]\[0\]\[1\]\[1\]: expected a whole number from 0 to 255, got -1$/);
});

test('lengths that lie', async () => {
  const lengths = (...numbers: number[]) => new Uint8Array(Uint32Array.from(numbers).buffer);
  await refused(read('files', [1], { bytes: lengths(5, 0) }), 'invalid_field');
  await refused(read('files', [1], { bytes: lengths(0xffffffff, 0) }), 'invalid_field');
  await refused(read('files', [1], { bytes: lengths(0) }), 'invalid_field');
  await refused(read('files', [1], { bytes: lengths(4, 0, 0) }), 'wrong_shape');
  await refused(read('files', [2], { bytes: lengths(4, 0) }), 'wrong_shape');
  await refused(read('files', [1], { bytes: new Uint8Array(0) }), 'wrong_shape');
  await refused(read('files', [5], { bytes: lengths(4, 0) }), 'batch_too_large');
  await refused(read('files', [1, 2], { bytes: lengths(4, 0) }), 'wrong_shape');
});
