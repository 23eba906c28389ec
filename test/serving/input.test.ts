import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { ErrorCode } from '../../src/errors.js';
import type { InputSpec } from '../../src/model/manifest.js';
import { readInput } from '../../src/serving/input.js';
import type { PredictBody } from '../../src/serving/request.js';
import { Random } from '../support/random.js';
import { refused, settle } from './fixtures.js';

const GREY: InputSpec = { shape: [2, 3, 1], range: [0, 1], resize: 'fill' };
const COLOUR: InputSpec = { shape: [2, 2, 3], range: [-1, 1], resize: 'fill' };
const LIMITS = { maxBatch: 4, maxImagePixels: 10_000 };

const instances = (value: unknown): PredictBody => ({ kind: 'instances', instances: value });
const raw = (dtype: 'uint8' | 'float32', bytes: Uint8Array): PredictBody => ({ kind: 'raw', dtype, bytes });
const read = (body: PredictBody, spec = GREY) => readInput(body, spec, LIMITS);
const floatBytes = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

const pixels = Uint8Array.of(0, 51, 102, 153, 204, 255);
const png = await sharp(pixels, { raw: { width: 3, height: 2, channels: 1 } })
  .png()
  .toBuffer();
const b64 = png.toString('base64');
const asFloats = [...pixels].map((p) => Math.fround(p / 255));

const nested = [
  [[0], [0.2], [0.4]],
  [[0.6], [0.8], [1]],
];
const plane = nested.map((line) => line.map((cell) => cell[0]));
const flat = plane.flat();
const floats = flat.map(Math.fround);

test('numbers come nested, as a plane or flat, and images as base64, mixed in one batch', async () => {
  const { input, batch } = await read(instances([nested, { b64 }, plane, flat]));
  assert.equal(batch, 4);
  assert.deepEqual([...input], [...floats, ...asFloats, ...floats, ...floats]);
});

test('the order of a batch of images is kept', async () => {
  const files = await Promise.all(
    [10, 20, 30, 40].map((value) =>
      sharp(new Uint8Array(6).fill(value), { raw: { width: 3, height: 2, channels: 1 } })
        .png()
        .toBuffer(),
    ),
  );
  const { input } = await read(instances(files.map((file) => ({ b64: file.toString('base64') }))));
  assert.deepEqual(
    [0, 6, 12, 18].map((i) => Math.round(input[i] * 255)),
    [10, 20, 30, 40],
  );
});

test('channels of ranges of their own, and in the order that the model takes', async () => {
  const spec: InputSpec = {
    shape: [1, 2, 3],
    range: [-3, 5],
    channel_ranges: [
      [0, 1],
      [-3, 0],
      [0, 5],
    ],
    resize: 'fill',
  };
  const colours = Uint8Array.of(255, 0, 51, 0, 255, 102);
  const rgb = [1, -3, 1, 0, 0, 2];
  // As the model counts them: blue is its first channel, with the first range.
  const bgr = [0.2, -3, 5, 0.4, 0, 0];
  const file = await sharp(colours, { raw: { width: 2, height: 1, channels: 3 } })
    .png()
    .toBuffer();
  for (const [order, want] of [
    [undefined, rgb],
    ['bgr', bgr],
  ] as const) {
    const ordered = order === undefined ? spec : { ...spec, channel_order: order };
    for (const body of [raw('uint8', colours), { kind: 'image', bytes: file } as const]) {
      assert.deepEqual([...(await read(body, ordered)).input], want.map(Math.fround));
    }
    // Numbers are the model's own: neither moved nor scaled.
    assert.deepEqual([...(await read(raw('float32', floatBytes(...rgb)), ordered)).input], rgb.map(Math.fround));
  }
});

test('an image body is one instance, in the range of the model', async () => {
  const one = await read({ kind: 'image', bytes: png });
  assert.equal(one.batch, 1);
  assert.deepEqual([...one.input], asFloats);
  const colour = await read({ kind: 'image', bytes: png }, COLOUR);
  assert.equal(colour.input.length, 12);
  assert.ok(colour.input.every((x) => x >= -1 && x <= 1));
});

test('base64 may be url-safe and without padding', async () => {
  const url = png.toString('base64url');
  assert.deepEqual([...(await read(instances([{ b64: url }]))).input], asFloats);
});

test('raw bytes are pixels, or numbers in the range', async () => {
  const twice = Uint8Array.of(...pixels, ...pixels);
  const bytes = await read(raw('uint8', twice));
  assert.equal(bytes.batch, 2);
  assert.deepEqual([...bytes.input], [...asFloats, ...asFloats]);
  const signed = await read(raw('uint8', Uint8Array.of(0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255)), COLOUR);
  assert.deepEqual([...signed.input.subarray(0, 2)], [-1, 1]);
  const numbers = await read(raw('float32', floatBytes(...flat)));
  assert.deepEqual([...numbers.input], floats);
});

test('aligned raw floats are not copied, others are', async () => {
  const buffer = new ArrayBuffer(64);
  const aligned = new Uint8Array(buffer, 8, 24);
  aligned.set(floatBytes(...flat));
  const view = await read(raw('float32', aligned));
  assert.equal(view.input.buffer, buffer);
  assert.deepEqual([...view.input], floats);
  const odd = new Uint8Array(buffer, 33, 24);
  odd.set(floatBytes(...flat));
  const copy = await read(raw('float32', odd));
  assert.notEqual(copy.input.buffer, buffer);
  assert.deepEqual([...copy.input], floats);
});

test('the bounds of the range are within it, as the float32 that the model gets', async () => {
  const spec: InputSpec = { ...GREY, range: [-0.1, 0.1] };
  const value = [-0.1, 0.1, Math.fround(-0.1), Math.fround(0.1), 0, -0];
  await read(instances([value]), spec);
  await read(raw('float32', floatBytes(...value)), spec);
});

test('JSON, raw floats and a plane of random numbers give the same input', async () => {
  const random = new Random(4);
  for (let round = 0; round < 50; round++) {
    const shape: [number, number, number] = [random.integer(1, 5), random.integer(1, 5), random.integer(1, 4)];
    const [h, w, c] = shape;
    const spec: InputSpec = { shape, range: [-2, 3], resize: 'fill' };
    const values = Float32Array.from({ length: h * w * c }, () => random.next() * 5 - 2);
    const cube = Array.from({ length: h }, (_, y) =>
      Array.from({ length: w }, (_, x) => [...values.subarray((y * w + x) * c, (y * w + x + 1) * c)]),
    );
    const forms = [cube, [...values], ...(c === 1 ? [cube.map((line) => line.map((cell) => cell[0]))] : [])];
    for (const form of forms) assert.deepEqual((await read(instances([form]), spec)).input, values);
    const bytes = new Uint8Array(values.buffer.slice(0));
    assert.deepEqual((await read(raw('float32', bytes), spec)).input, values);
  }
});

/** An instance with one place changed. */
function changed(y: number, x: number, value: unknown): unknown[] {
  return nested.map((line, i) => line.map((cell, j) => (i === y && j === x ? value : cell)));
}

const deep = JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`) as unknown;

const REFUSED: [string, PredictBody, ErrorCode, Record<string, unknown>?][] = [
  ['no instances', instances(undefined), 'missing_field', { field: 'instances' }],
  ['null', instances(null), 'invalid_field', { field: 'instances', actual: 'null' }],
  ['an object', instances({ 0: nested }), 'invalid_field', { actual: 'an object' }],
  ['a string', instances('[[0]]'), 'invalid_field', { actual: 'a string' }],
  ['an empty array', instances([]), 'invalid_field', { actual: 'an empty array' }],
  ['too many', instances(new Array(5).fill(nested)), 'batch_too_large', { expected: 4, actual: 5 }],
  ['a number', instances([nested, 0.5]), 'invalid_field', { field: 'instances[1]', actual: 'a number' }],
  ['a null instance', instances([null]), 'invalid_field', { field: 'instances[0]', actual: 'null' }],
  ['a string instance', instances([b64]), 'invalid_field', { field: 'instances[0]', actual: 'a string' }],
  ['an empty instance', instances([nested, []]), 'wrong_shape', { field: 'instances[1]', actual: [0] }],
  ['unwrapped', instances(nested), 'wrong_shape', { field: 'instances[0]', expected: [2, 3, 1], actual: [3, 1] }],
  ['transposed', instances([[flat.slice(0, 2), [0, 0], [0, 0]]]), 'wrong_shape', { actual: [3, 2] }],
  ['too few', instances([flat.slice(1)]), 'wrong_shape', { actual: [5] }],
  ['too deep by one', instances([[nested]]), 'wrong_shape', { actual: [1, 2, 3, 1] }],
  ['thousands deep', instances([deep]), 'wrong_shape', { actual: [1, 1, 1, 1, 1, 1, 1, 1] }],
  ['thousands deep inside', instances([changed(1, 1, deep)]), 'invalid_field'],
  ['deep cell', instances([changed(1, 1, [[0]])]), 'invalid_field', { field: 'instances[0][1][1][0]' }],
  ['ragged row', instances([[nested[0], [[0], [0]]]]), 'wrong_shape', { field: 'instances[0][1]', actual: [2, 1] }],
  [
    'ragged plane',
    instances([[[0, 0, 0], [0]]]),
    'wrong_shape',
    { field: 'instances[0][1]', expected: [3], actual: [1] },
  ],
  ['ragged cell', instances([changed(0, 2, [0, 1])]), 'wrong_shape', { field: 'instances[0][0][2]', actual: [2] }],
  ['null row', instances([[nested[0], null]]), 'invalid_field', { field: 'instances[0][1]', actual: 'null' }],
  ['number for a cell', instances([changed(1, 0, 0)]), 'invalid_field', { field: 'instances[0][1][0]' }],
  [
    'a string',
    instances([changed(1, 2, ['1'])]),
    'invalid_field',
    { field: 'instances[0][1][2][0]', actual: 'a string' },
  ],
  ['a flat string', instances([['a', ...flat.slice(1)]]), 'invalid_field', { field: 'instances[0][0]' }],
  [
    'a boolean',
    instances([[...flat.slice(1), true]]),
    'invalid_field',
    { field: 'instances[0][5]', actual: 'a boolean' },
  ],
  ['a null', instances([[...flat.slice(1), null]]), 'invalid_field', { field: 'instances[0][5]', actual: 'null' }],
  ['an object inside', instances([[...flat.slice(1), {}]]), 'invalid_field', { actual: 'an object' }],
  ['1e999', instances([nested, JSON.parse('[0,0,0,0,1e999,0]')]), 'not_finite', { field: 'instances[1][4]' }],
  ['NaN', instances([[0, 0, Number.NaN, 0, 0, 0]]), 'not_finite', { field: 'instances[0][2]', actual: 'NaN' }],
  ['above', instances([changed(0, 1, [1.001])]), 'out_of_range', { field: 'instances[0][0][1][0]', actual: '1.001' }],
  [
    'below',
    instances([
      [
        [0, 0, 0],
        [0, -0.1, 0],
      ],
    ]),
    'out_of_range',
    { field: 'instances[0][1][1]' },
  ],
  ['beyond float32', instances([[0, 0, 1e300, 0, 0, 0]]), 'out_of_range', { field: 'instances[0][2]' }],
  ['no b64', instances([{}]), 'missing_field', { field: 'instances[0].b64' }],
  ['another key', instances([{ b64, dtype: 'x' }]), 'unknown_field', { field: 'instances[0].dtype' }],
  ['b64 of a number', instances([{ b64: 7 }]), 'invalid_field', { field: 'instances[0].b64', actual: 'a number' }],
  ['b64 null', instances([{ b64: null }]), 'invalid_field', { actual: 'null' }],
  ['b64 empty', instances([{ b64: '' }]), 'invalid_field', { actual: 'an empty string' }],
  ['b64 with a space', instances([{ b64: `${b64.slice(0, 8)} ${b64.slice(8)}` }]), 'invalid_field'],
  ['b64 as a data url', instances([{ b64: `data:image/png;base64,${b64}` }]), 'invalid_field'],
  ['b64 cut short', instances([{ b64: `${b64.replace(/=+$/, '').slice(0, 40)}A` }]), 'invalid_field'],
  ['b64 padded wrongly', instances([{ b64: `${b64.slice(0, 40)}=` }]), 'invalid_field'],
  ['b64 of no image', instances([nested, { b64: 'aGVsbG8=' }]), 'bad_image', { field: 'instances[1].b64' }],
  ['b64 of half an image', instances([{ b64: png.subarray(0, 50).toString('base64') }]), 'bad_image'],
  ['an empty image', { kind: 'image', bytes: new Uint8Array(0) }, 'empty_body', { field: 'body' }],
  ['a bad image', { kind: 'image', bytes: Buffer.from('no image') }, 'bad_image', { field: 'body' }],
  ['empty bytes', raw('uint8', new Uint8Array(0)), 'empty_body'],
  ['a byte too few', raw('uint8', new Uint8Array(5)), 'wrong_shape', { actual: 5, expected_shape: [2, 3, 1] }],
  ['a byte too many', raw('uint8', new Uint8Array(13)), 'wrong_shape', { actual: 13 }],
  ['bytes for floats', raw('float32', new Uint8Array(6)), 'wrong_shape', { expected: 'a multiple of 24 bytes' }],
  ['too many raw', raw('uint8', new Uint8Array(30)), 'batch_too_large', { actual: 5 }],
  [
    'a raw NaN',
    raw('float32', floatBytes(0, 0, 0, 0, 0, 0, 0, Number.NaN, 0, 0, 0, 0)),
    'not_finite',
    { index: 7, instance: 1 },
  ],
  [
    'a raw infinity',
    raw('float32', floatBytes(-Infinity, 0, 0, 0, 0, 0)),
    'not_finite',
    { index: 0, actual: '-Infinity' },
  ],
  ['a raw 255', raw('float32', floatBytes(0, 0, 0, 255, 0, 0)), 'out_of_range', { index: 3, actual: 255 }],
];

for (const [name, body, code, extra] of REFUSED) {
  test(`refused: ${body.kind}: ${name}: ${code}`, async () => {
    const error = await refused(read(body), code);
    for (const [key, value] of Object.entries(extra ?? {})) {
      assert.deepEqual(error.extra[key], value, `${key}: ${error.message}`);
    }
  });
}

test('of a request that fails, no more images are decoded', async () => {
  let decodes = 0;
  const count = () => void decodes++;
  sharp.queue.on('change', count);
  const error = await refused(
    readInput(instances([{ b64: 'aGVsbG8=' }, ...new Array(60).fill({ b64 })]), GREY, { ...LIMITS, maxBatch: 64 }),
    'bad_image',
  );
  assert.equal(error.extra.field, 'instances[0].b64');
  for (let i = 0; i < 20 || sharp.counters().process > 0; i++) await settle();
  sharp.queue.off('change', count);
  assert.ok(decodes > 0 && decodes < 20, `${decodes} decodes began or ended`);
});
