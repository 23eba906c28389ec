import assert from 'node:assert/strict';
import { symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Weights } from '../../src/model/graph.js';
import { decodeWeights, encodeWeights, readWeights } from '../../src/model/weights.js';
import { temporaryFolder } from './folders.js';
import { saveModel, tfl, writeModel } from './saved-model.js';

function smallModel(): tfl.LayersModel {
  const L = tfl.layers;
  return tfl.sequential({
    layers: [
      L.conv2d({ filters: 3, kernelSize: 3, inputShape: [6, 6, 2], name: 'c', biasInitializer: 'randomNormal' }),
      L.batchNormalization({ name: 'n' }),
      L.flatten({ name: 'f' }),
      L.dense({ units: 7, name: 'd', biasInitializer: 'randomNormal' }),
    ],
  });
}

const expected = (model: tfl.LayersModel) =>
  new Map(model.weights.map((w) => [w.originalName, { shape: w.shape, data: w.read().dataSync() }]));

/** A document of one Dense layer whose kernel is stored as the quantisation says. */
function quantized(dtype: string, quantization: unknown, shape: [number, number] = [2, 3]) {
  return {
    class_name: 'Sequential',
    config: [
      {
        class_name: 'Dense',
        config: { name: 'd', units: shape[1], use_bias: false, batch_input_shape: [null, shape[0]] },
      },
    ],
    weightsManifest: [
      {
        paths: ['w'],
        weights: [
          { name: 'seed', shape: [3], dtype: 'uint8' }, // another layer's; it makes the next one unaligned
          { name: 'd/kernel', shape, dtype, quantization },
        ],
      },
    ],
  };
}

test('weights come back as TF.js saved them, from one file or many', async () => {
  const model = smallModel();
  const saved = await saveModel(model);
  for (const shards of [1, 2, 7, 40]) {
    const folder = await temporaryFolder();
    await writeModel(folder, saved, shards);
    assert.deepEqual(await readWeights(folder), expected(model), `${shards} shards`);
  }
});

test('weights come back from several groups', async () => {
  const model = smallModel();
  const { document, bytes } = await saveModel(model);
  const [{ weights }] = document.weightsManifest as { weights: { shape: number[] }[] }[];
  const split = 3;
  const at = weights.slice(0, split).reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  const shards: Record<string, Buffer> = { a: bytes.subarray(0, 5), b: bytes.subarray(5, at), c: bytes.subarray(at) };
  document.weightsManifest = [
    { paths: ['a', 'b'], weights: weights.slice(0, split) },
    { paths: ['c'], weights: weights.slice(split) },
  ];
  assert.deepEqual(await decodeWeights(document, async (path) => shards[path]), expected(model));
});

test('what is encoded is decoded, bit for bit', async () => {
  const model = smallModel();
  const { document } = await saveModel(model);
  const weights = expected(model) as Weights;
  // A view into a larger buffer, as a reader gives it.
  const { shape, data } = weights.get('d/bias') as { shape: number[]; data: Float32Array };
  const wide = new Float32Array(20);
  wide.set(data, 5);
  weights.set('d/bias', { shape, data: wide.subarray(5, 12) });
  const { manifest, bytes } = encodeWeights(weights);
  assert.deepEqual(await decodeWeights({ ...document, weightsManifest: manifest }, async () => bytes), expected(model));
});

test('uint8, uint16 and float16 weights are decoded as the converter means them', async () => {
  const scale = 0.037;
  const min = -1.25;
  const bytes = Buffer.from([9, 9, 9, 0, 1, 127, 128, 254, 255]);
  const eight = await decodeWeights(quantized('float32', { dtype: 'uint8', scale, min }), async () => bytes);
  const values = [0, 1, 127, 128, 254, 255].map((code) => Math.fround(code * scale + min));
  assert.deepEqual([...(eight.get('d/kernel')?.data ?? [])], values);

  const codes = [0, 1, 255, 256, 40000, 65535];
  const wide = Buffer.concat([Buffer.alloc(3), Buffer.from(Uint16Array.from(codes).buffer)]);
  const sixteen = await decodeWeights(quantized('float32', { dtype: 'uint16', scale, min }), async () => wide);
  const wideValues = codes.map((code) => Math.fround(code * scale + min));
  assert.deepEqual([...(sixteen.get('d/kernel')?.data ?? [])], wideValues);

  // 1, −2, 65504 (the largest), 2^−14 (the smallest normal), 2^−24 (the smallest), −0.
  const halves = Buffer.from(Uint16Array.from([0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000]).buffer);
  const half = await decodeWeights(quantized('float32', { dtype: 'float16', original_dtype: 'float32' }), async () =>
    Buffer.concat([Buffer.alloc(3), halves]),
  );
  assert.deepEqual([...(half.get('d/kernel')?.data ?? [])], [1, -2, 65504, 2 ** -14, 2 ** -24, -0]);
});

test('a float32 weight that is not aligned is copied, and right', async () => {
  const values = Float32Array.from([1.5, -2, 3, 4, 5, 1e-30]);
  const bytes = Buffer.concat([Buffer.alloc(3), Buffer.from(values.buffer)]);
  const weights = await decodeWeights(quantized('float32', null), async () => bytes);
  assert.deepEqual(weights, new Map([['d/kernel', { shape: [2, 3], data: values }]]));
});

test('files of a wrong length are refused', async () => {
  const saved = await saveModel(smallModel());
  const length = saved.bytes.length;
  for (const [shards, file] of [
    [1, 'weights.bin'],
    [3, 'group1-shard2.bin'],
  ] as const) {
    const folder = await temporaryFolder();
    await writeModel(folder, saved, shards);
    await truncate(join(folder, file), 40);
    await assert.rejects(readWeights(folder), {
      code: 'bad_model',
      message: new RegExp(`expected ${length} bytes, got`),
    });
    await writeFile(join(folder, file), Buffer.alloc(length + 1));
    await assert.rejects(readWeights(folder), { code: 'bad_model', message: new RegExp(`expected ${length} bytes`) });
  }
});

test('weights that are not finite are refused, read or written', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const data = Float32Array.from([1, 2, 3, 4, bad, 6]);
    const bytes = Buffer.concat([Buffer.alloc(3), Buffer.from(data.buffer)]);
    const refusal = {
      code: 'bad_model',
      message: /weight "d\/kernel" at 4: expected a finite number, got (NaN|-?Infinity)/,
    };
    await assert.rejects(
      decodeWeights(quantized('float32', null), async () => bytes),
      refusal,
    );
    assert.throws(() => encodeWeights(new Map([['d/kernel', { shape: [2, 3], data }]])), refusal);
  }
  const halves = Buffer.concat([Buffer.alloc(3), Buffer.from(Uint16Array.from([0, 0, 0, 0, 0x7c00, 0]).buffer)]);
  await assert.rejects(
    decodeWeights(quantized('float32', { dtype: 'float16' }), async () => halves),
    /finite/,
  );
});

test('a shape that the data does not fill is refused', () => {
  const data = new Float32Array(5);
  assert.throws(() => encodeWeights(new Map([['w', { shape: [2, 3], data }]])), {
    code: 'bad_model',
    message: /6 numbers, got 5/,
  });
});

test('folders that cannot be read are refused, and links that lead out of them', async () => {
  const folder = await temporaryFolder();
  await assert.rejects(readWeights(join(folder, 'none')), { code: 'bad_model', message: /model.json: .*ENOENT/ });
  await assert.rejects(readWeights(folder), { code: 'bad_model', message: /model.json: .*ENOENT/ });
  await writeFile(join(folder, 'model.json'), '{');
  await assert.rejects(readWeights(folder), { code: 'bad_model', message: /model.json: expected JSON/ });
  await writeFile(join(folder, 'model.json'), JSON.stringify(quantized('float32', null)));
  await assert.rejects(readWeights(folder), { code: 'bad_model', message: /w: .*ENOENT/ });
  const outside = join(await temporaryFolder(), 'outside');
  await writeFile(outside, Buffer.alloc(27));
  await symlink(outside, join(folder, 'w'));
  await assert.rejects(readWeights(folder), { code: 'bad_model', message: /in the folder of model.json/ });
});
