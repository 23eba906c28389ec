/** The pure functions between bytes and serving. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { deflateSync, gzipSync } from 'node:zlib';
import type { ServiceError } from '../../src/errors.js';
import { compress, decompress } from '../../src/http/compression.js';
import { readInferCall } from '../../src/http/oip/request.js';
import { encodeAnswer, floatBytes, packStrings } from '../../src/http/oip/response.js';
import { tellAll } from '../../src/http/oip/statistics.js';
import { fakeInference } from './fakes.js';
import { LABELS } from './tiny.js';

const input = { name: 'input', shape: [1, 4, 4, 1], datatype: 'UINT8' };

test('a message is split where its header says', () => {
  const json = Buffer.from(JSON.stringify({ id: 'é', inputs: [{ ...input, parameters: { binary_data_size: 3 } }] }));
  const call = readInferCall(Buffer.concat([json, Buffer.of(1, 2, 3)]), String(json.length), {}, undefined);
  assert.equal(call.id, 'é');
  assert.deepEqual(call.request.body, {
    kind: 'tensor',
    shape: [1, 4, 4, 1],
    dtype: 'uint8',
    data: { bytes: Buffer.of(1, 2, 3) },
  });
  assert.deepEqual(
    call.outputs.map(({ name, binary, classes }) => [name, binary, classes]),
    [
      ['probabilities', false, 0],
      ['logits', false, 0],
      ['label', false, 0],
    ],
  );
});

test('a header of all the body is a message without binary data', () => {
  const json = Buffer.from(JSON.stringify({ inputs: [{ ...input, data: [0] }], outputs: [] }));
  const { request, outputs } = readInferCall(json, String(json.length), {}, undefined);
  assert.deepEqual((request.body as { data: unknown }).data, { values: [0] });
  assert.equal(outputs.length, 3);
});

test('strings have their length in bytes before them, floats are little-endian', () => {
  assert.deepEqual([...packStrings(['a', '', 'é'])], [1, 0, 0, 0, 97, 0, 0, 0, 0, 2, 0, 0, 0, 0xc3, 0xa9]);
  assert.deepEqual([...floatBytes(Float32Array.of(1, -2))], [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
  const part = new Float32Array([9, 1]).subarray(1);
  assert.deepEqual([...floatBytes(part)], [0, 0, 0x80, 0x3f]);
});

test('an answer of a batch: rows in order, classes by value, never more than there are', () => {
  const logits = Float32Array.of(0, 1, 2, 3, -1, 0);
  const inference = { ...fakeInference(), batch: 2, logits };
  const outputs = [
    { name: 'label', binary: false, classes: 0 },
    { name: 'logits', binary: false, classes: 9 },
    { name: 'probabilities', binary: true, classes: 0 },
  ] as const;
  const { body, headerLength } = encodeAnswer(inference, undefined, [...outputs]);
  assert.ok(headerLength);
  const answer = JSON.parse(body.subarray(0, headerLength).toString());
  assert.deepEqual(answer.outputs[0].data, [LABELS[2], LABELS[0]]);
  assert.deepEqual(answer.outputs[1].shape, [2, 3]);
  assert.deepEqual(answer.outputs[1].data, [
    '2.000000:2:bottom',
    '1.000000:1:middle',
    '0.000000:0:top',
    '3.000000:0:top',
    '0.000000:2:bottom',
    '-1.000000:1:middle',
  ]);
  const probabilities = new Float32Array(new Uint8Array(body.subarray(headerLength)).buffer);
  assert.equal(probabilities.length, 6);
  for (const row of [0, 3]) {
    const sum = probabilities[row] + probabilities[row + 1] + probabilities[row + 2];
    assert.ok(Math.abs(sum - 1) < 1e-6);
  }
});

test('decompression gives the body back, within its bound', async () => {
  const unpack = promisify(decompress);
  const body = Buffer.from('x'.repeat(1000));
  for (const [bytes, coding] of [
    [body, undefined],
    [body, 'identity'],
    [gzipSync(body), 'gzip'],
    [gzipSync(body), ' GZIP '],
    [deflateSync(body), 'deflate'],
    [await compress(body, 'gzip'), 'gzip'],
    [await compress(body, 'deflate'), 'deflate'],
  ] as const) {
    assert.deepEqual(await unpack(bytes, coding, { maxBytes: 1000 }), body);
    if (bytes === body) continue;
    await assert.rejects(
      unpack(bytes, coding, { maxBytes: 999 }),
      (error: ServiceError) => error.code === 'body_too_large',
    );
    const more = Buffer.concat([bytes, Buffer.alloc(3)]);
    await assert.rejects(
      unpack(more, coding, { maxBytes: 1000 }),
      /a whole (gzip|deflate) stream, got 3 bytes behind it/,
    );
  }
});

test('several observers are told the same', () => {
  const told: string[] = [];
  const all = tellAll(
    { onVariantHit: (e) => told.push(`a ${e.model}`) },
    { onVariantHit: (e) => told.push(e.model) },
    {},
  );
  all.onVariantHit?.({ model: 'tiny' });
  assert.deepEqual(told, ['a tiny', 'tiny']);
  assert.equal(all.onPrediction, undefined);
});
