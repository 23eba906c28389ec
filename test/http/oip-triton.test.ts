/** The Python client of Triton, by the bytes that it sends. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { PROJECT_ROOT } from '../../src/config.js';
import { AUTHORIZATION, servingApp } from './app.js';
import { LABELS } from './tiny.js';
import { byteTensor, type Input, inferenceRequest, readResult, TritonClient } from './triton-client.js';

/** Bright in the middle. */
const pixels = Uint8Array.from({ length: 16 }, (_, i) => (i >= 4 && i < 12 ? 255 : 0));
const floats = Buffer.from(Float32Array.from(pixels, (p) => p / 255).buffer);
const fp32: Input = { name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data: floats };

async function client(t: TestContext) {
  const app = await servingApp(t);
  return { ...app, triton: new TritonClient((app.app.server.address() as AddressInfo).port) };
}

test('the fixture is what the client sends', () => {
  const { body, jsonSize } = inferenceRequest([fp32], { id: '7', timeout: 5_000_000, parameters: { bits: 4 } });
  const json =
    '{"id":"7","inputs":[{"name":"input","shape":[1,4,4,1],"datatype":"FP32","parameters":{"binary_data_size":64}}],' +
    '"parameters":{"timeout":5000000,"binary_data_output":true,"bits":4}}';
  assert.deepEqual(body, Buffer.concat([Buffer.from(json), floats]));
  assert.equal(jsonSize, json.length);
  // written in Python by the client's steps, not by the client: compact JSON, then `tobytes` of numpy
  const [example, pixelsOf7] = ['infer-triton.bin', 'digit-7.u8'].map((name) =>
    readFileSync(join(PROJECT_ROOT, 'examples', name)),
  );
  const made = inferenceRequest([{ name: 'input', shape: [1, 28, 28, 1], datatype: 'UINT8', data: pixelsOf7 }], {
    id: '42',
    outputs: [{ name: 'label' }, { name: 'probabilities', binary: false, classes: 2 }],
    parameters: { bits: 4, activation_bits: 8 },
  });
  assert.deepEqual(made.body, example);
});

test('infer: binary in, binary out, no content type', async (t) => {
  const { triton } = await client(t);
  const answer = await triton.infer('tiny', [fp32], { id: '7', parameters: { bits: 4, activation_bits: 8 } });
  assert.equal(answer.status, 200, answer.body.toString());
  assert.equal(answer.headers['content-type'], 'application/octet-stream');
  const { result, tensors } = readResult(answer);
  assert.deepEqual(
    [result.id, result.model_name, result.model_version, result.parameters.bits, result.parameters.activation_bits],
    ['7', 'tiny', '1', 4, 8],
  );
  assert.deepEqual(
    result.outputs.map((o: { name: string; datatype: string; shape: number[] }) => [o.name, o.datatype, o.shape]),
    [
      ['probabilities', 'FP32', [1, 3]],
      ['logits', 'FP32', [1, 3]],
      ['label', 'BYTES', [1]],
    ],
  );
  assert.deepEqual(tensors.label, ['middle']);
  const [top, middle] = tensors.probabilities as number[];
  assert.ok(middle > 0.99 && top < 0.01);
});

test('every compression, both ways', async (t) => {
  const { triton } = await client(t);
  for (const compress of [undefined, 'gzip', 'deflate'] as const) {
    for (const accept of [undefined, 'gzip', 'deflate'] as const) {
      const answer = await triton.infer('tiny', [fp32], { compress, accept });
      assert.equal(answer.status, 200, answer.body.toString());
      assert.equal(answer.headers['content-encoding'], accept);
      assert.deepEqual(readResult(answer).tensors.label, ['middle'], `${compress} ${accept}`);
    }
  }
});

test('requested outputs, binary and not, and classification', async (t) => {
  const { triton } = await client(t);
  const outputs = [
    { name: 'logits', binary: false },
    { name: 'probabilities', classes: 2 },
  ];
  const { result, tensors } = readResult(await triton.infer('tiny', [fp32], { outputs }));
  assert.deepEqual(Object.keys(tensors), ['logits', 'probabilities']);
  assert.equal(result.outputs[0].data.length, 3);
  assert.deepEqual([result.outputs[1].datatype, result.outputs[1].shape], ['BYTES', [1, 2]]);
  assert.match(tensors.probabilities[0] as string, /^0\.99\d{4}:1:middle$/);
  assert.match(tensors.probabilities[1] as string, /^0\.00\d{4}:[02]:(top|bottom)$/);
  const text = readResult(await triton.infer('tiny', [fp32], { outputs: [{ name: 'label', binary: false }] }));
  assert.deepEqual(text.result.outputs, [{ name: 'label', datatype: 'BYTES', shape: [1], data: ['middle'] }]);
});

test('UINT8, image files, JSON and a batch answer alike', async (t) => {
  const { triton } = await client(t);
  const png = await sharp(pixels, { raw: { width: 4, height: 4, channels: 1 } })
    .png()
    .toBuffer();
  const expected = readResult(await triton.infer('tiny', [fp32])).tensors.logits;
  const inputs: Input[] = [
    { name: 'input', shape: [1, 4, 4, 1], datatype: 'UINT8', data: Buffer.from(pixels) },
    { name: 'input', shape: [1], datatype: 'BYTES', data: byteTensor(png) },
    { name: 'input', shape: [1, 1], datatype: 'BYTES', data: byteTensor(png) },
    { name: 'input', shape: [1], datatype: 'BYTES', data: [png.toString('base64')] },
    { name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data: [...pixels].map((p) => p / 255) },
    { name: 'input', shape: [1, 4, 4, 1], datatype: 'UINT8', data: [...pixels] },
  ];
  for (const input of inputs) {
    const answer = await triton.infer('tiny', [input]);
    assert.equal(answer.status, 200, answer.body.toString());
    assert.deepEqual(readResult(answer).tensors.logits, expected, `${input.datatype} ${input.shape}`);
  }
  const dark = Buffer.alloc(64);
  const two: Input = { name: 'input', shape: [2, 4, 4, 1], datatype: 'FP32', data: Buffer.concat([dark, floats]) };
  const batch = readResult(await triton.infer('tiny', [two], { version: '2' }));
  assert.equal(batch.result.model_version, '2');
  assert.deepEqual(batch.tensors.logits.slice(3), expected);
  assert.deepEqual(batch.tensors.label, [LABELS[0], LABELS[1]]);
});

test('health, metadata, configuration, statistics', async (t) => {
  const { triton, readiness } = await client(t);
  const get = async (path: string) => {
    const { status, body } = await triton.send('GET', path);
    return [status, JSON.parse(body.toString())];
  };
  assert.equal((await get('v2/health/live'))[0], 200);
  assert.equal((await get('v2/health/ready'))[0], 503);
  readiness.ready();
  assert.equal((await get('v2/health/ready'))[0], 200);
  assert.equal((await get('v2'))[1].name, 'bitdial');
  for (const path of ['v2/models/tiny', 'v2/models/tiny/versions/1']) {
    assert.equal((await get(path))[1].name, 'tiny');
    assert.equal((await get(`${path}/ready`))[0], 200);
    assert.deepEqual((await get(`${path}/config`))[1].input[0].dims, [4, 4, 1]);
    assert.equal((await get(`${path}/stats`))[1].model_stats[0].inference_count, 0);
  }
  assert.deepEqual(await get('v2/models/other/ready'), [404, { error: 'model: expected one of tiny, got "other"' }]);
});

test('the repository: an empty POST without a length, load, unload', async (t) => {
  const { triton } = await client(t);
  const index = async () => JSON.parse((await triton.send('POST', 'v2/repository/index')).body.toString());
  assert.deepEqual(
    (await index()).map((e: { state: string }) => e.state),
    ['READY', 'READY'],
  );
  const headers = { Authorization: AUTHORIZATION };
  const control = (action: string, body: string, h: Record<string, string> = headers) =>
    triton.send('POST', `v2/repository/models/tiny/${action}`, h, Buffer.from(body));
  // what unload_model and load_model send
  assert.equal((await control('unload', '{"parameters":{"unload_dependents":false}}', {})).status, 401);
  assert.equal((await control('unload', '{"parameters":{"unload_dependents":false}}')).status, 200);
  assert.equal((await triton.infer('tiny', [fp32])).status, 503);
  assert.equal((await control('load', '{}')).status, 200);
  assert.equal((await triton.infer('tiny', [fp32])).status, 200);
  assert.equal((await control('load', '')).status, 200);
});
