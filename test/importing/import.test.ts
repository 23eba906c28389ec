import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import { importModelFolder } from '../../src/importing/import.js';
import { PREPROCESSINGS } from '../../src/importing/preprocessing.js';
import type { ImportFields } from '../../src/importing/request.js';
import { importGraph } from '../../src/model/import.js';
import { buildPlan, planBytes } from '../../src/quantize/build.js';
import { dataFreeRanges } from '../../src/quantize/data-free.js';
import { energyOutlineUj, HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { parsePrecision } from '../../src/quantize/precision.js';
import { type ConverterOptions, writeConverted } from '../support/keras-files.js';
import { mobileNetV2 } from '../support/mobilenet.js';
import { Random } from '../support/random.js';
import { folderOf, loadWithTfjs, OPTIONS, predictWithTfjs, relativeError, request } from './fixtures.js';

const whole = mobileNetV2({ side: 32, classes: 7, softmax: false, seed: 4 });
const small = mobileNetV2({ side: 32, classes: 7, blocks: 3, seed: 4 });
const SIZE = 32 * 32 * 3;

async function written(t: TestContext, options: ConverterOptions = { shardBytes: 300_000 }): Promise<string> {
  const folder = folderOf(t);
  await writeConverted(folder, small, options);
  return folder;
}

async function imported(folder: string, fields: ImportFields = {}, calibration: string | null = null) {
  const { version, summary } = await importModelFolder(folder, calibration, request(fields), OPTIONS);
  return { ...version, graph: importGraph(version.topology), summary };
}

for (const quantize of [undefined, 'float16', 'uint8', 'uint16'] as const) {
  test(`MobileNetV2 in shards, weights as ${quantize ?? 'float32'}: logits are those of TF.js on the same files`, async (t) => {
    const folder = folderOf(t);
    await writeConverted(folder, whole, { quantize, shardBytes: 300_000 });
    const { graph, weights, manifest } = await imported(folder, { preprocessing: 'mobilenet' });
    const input = new Random(8).normals(2 * SIZE, 0.5);
    const plan = buildPlan(graph, weights, manifest, { weightBits: 32, activationBits: 32 });
    const want = await predictWithTfjs(await loadWithTfjs(folder), input);
    const error = relativeError(runPlan(plan, input, 2), want);
    assert.ok(error < 1e-4, `relative error ${error}`);
  });
}

test('a version without data: ranges from the norms, a price for every precision, no accuracy', async (t) => {
  const folder = await written(t);
  const { manifest, graph, weights, summary } = await imported(folder, { preprocessing: 'tf', resize: 'cover' });
  assert.deepEqual(manifest.input, { shape: [32, 32, 3], range: [-1, 1], resize: 'cover' });
  assert.deepEqual(manifest.labels, ['0', '1', '2', '3', '4', '5', '6']);
  assert.equal(manifest.default_precision, '8x8');
  assert.deepEqual(manifest.imported, { generated_by: 'keras v2.9.0', ranges: 'data-free', calibration_images: 0 });
  assert.equal(manifest.training, null);
  assert.deepEqual(manifest.ranges, dataFreeRanges(graph, weights, manifest.input));
  assert.equal(Object.keys(manifest.precisions).length, 14);
  for (const [key, row] of Object.entries(manifest.precisions)) {
    const precision = parsePrecision(key);
    assert.equal(row.accuracy, null);
    assert.equal(row.images, 0);
    assert.equal(row.memory_bytes, planBytes(graph, manifest, precision), key);
    assert.equal(row.energy_uj, energyOutlineUj(graph, manifest, precision, HOROWITZ_45NM), key);
    assert.ok(row.macs > 1e6);
  }
  assert.equal(summary.layers.depthwise_conv2d, 3);
  assert.equal(summary.layers.zero_pad, 2);
  assert.equal(summary.layers.add, 1);
  assert.equal(
    summary.parameters,
    [...small.weights.values()].reduce((sum, { data }) => sum + data.length, 0),
  );
});

test('what the maker’s training left in the files does not count', async (t) => {
  const folder = await written(t);
  const path = join(folder, 'model.json');
  const document = JSON.parse(await readFile(path, 'utf8'));
  document.modelTopology.training_config = { loss: 'categorical_crossentropy', optimizer_config: {} };
  document.userDefinedMetadata = { note: 'x' };
  document.weightsManifest.push({
    paths: ['optimizer.bin'],
    weights: [{ name: 'Adam/iter', shape: [], dtype: 'int32' }],
  });
  await writeFile(join(folder, 'optimizer.bin'), Buffer.alloc(4));
  await writeFile(path, JSON.stringify(document));
  const { weights, topology } = await imported(folder);
  assert.equal(weights.size, small.weights.size);
  assert.deepEqual(Object.keys(topology).sort(), ['convertedBy', 'format', 'generatedBy', 'modelTopology']);
});

test('the document is found by its path, in the folder, or in its only sub-folder', async (t) => {
  const folder = await written(t);
  await rename(join(folder, 'model.json'), join(folder, 'mobile.json'));
  await imported(join(folder, 'mobile.json'));
  await assert.rejects(imported(folder), {
    code: 'bad_model',
    message: /one in the folder, or in its only sub-folder/,
  });
  await assert.rejects(imported(join(folder, 'nothing')), { code: 'bad_model', message: /a file or folder/ });
  const outer = folderOf(t);
  await mkdir(join(outer, 'mobilenet'));
  await writeConverted(join(outer, 'mobilenet'), small);
  await imported(outer);
});

test('labels: given, from labels.txt, or numbers; as many as outputs', async (t) => {
  const folder = await written(t);
  const names = ['tench', 'goldfish', 'white shark', 'ray', 'cock', 'hen', 'ostrich'];
  await writeFile(join(folder, 'labels.txt'), `\ufeff${names.join('\r\n')}\n\n`);
  assert.deepEqual((await imported(folder)).manifest.labels, names);
  const given = names.map((name) => name.toUpperCase());
  assert.deepEqual((await imported(folder, { labels: given })).manifest.labels, given);
  const few = { code: 'invalid_field', message: /labels: expected 7 labels, one for each output, got 2/ };
  await assert.rejects(imported(folder, { labels: ['a', 'b'] }), few);
  await writeFile(join(folder, 'labels.txt'), 'a\nb\n');
  await assert.rejects(imported(folder), { code: 'invalid_field', message: /labels.txt: expected 7 labels/ });
  await writeFile(join(folder, 'labels.txt'), `${'x'.repeat(300)}\n`);
  await assert.rejects(imported(folder), { code: 'invalid_field', message: /labels.txt: .*256 characters/ });
});

test('preprocessings by name are those of Keras', async (t) => {
  const folder = await written(t);
  const { range, ...torch } = (await imported(folder, { preprocessing: 'torch' })).manifest.input;
  const [red, , blue] = torch.channel_ranges as [number, number][];
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a}, ${b}`);
  near(red[0] + (128 / 255) * (red[1] - red[0]), (128 / 255 - 0.485) / 0.229);
  near(blue[0] + (255 / 255) * (blue[1] - blue[0]), (1 - 0.406) / 0.225);
  near(range[0], -0.485 / 0.229);
  near(range[1], (1 - 0.406) / 0.225);
  const { input } = (await imported(folder, { preprocessing: 'caffe' })).manifest;
  assert.deepEqual(input.channel_ranges?.[0], [-103.939, 255 - 103.939]);
  assert.equal(input.channel_order, 'bgr');
  assert.deepEqual((await imported(folder, { preprocessing: 'none' })).manifest.input.range, [0, 255]);
  assert.deepEqual((await imported(folder)).manifest.input.range, PREPROCESSINGS.unit.range);
  assert.deepEqual((await imported(folder, { input_range: [-2, 0.5] })).manifest.input.range, [-2, 0.5]);
});

test('a folder of images makes the ranges', async (t) => {
  const [folder, images] = [await written(t), folderOf(t)];
  const random = new Random(2);
  await mkdir(join(images, 'more'));
  const bytes = Array.from({ length: 3 }, () => Buffer.from(random.normals(48 * 40 * 3).map((v) => 128 + 60 * v)));
  for (const [i, pixels] of bytes.entries()) {
    const file = sharp(Uint8Array.from(pixels), { raw: { width: 48, height: 40, channels: 3 } }).png();
    await file.toFile(join(images, i === 2 ? 'more' : '.', `${i}.png`));
  }
  await writeFile(join(images, 'notes.txt'), 'no image');
  const { manifest, graph, weights } = await imported(folder, { preprocessing: 'tf' }, images);
  assert.deepEqual(manifest.imported, { generated_by: 'keras v2.9.0', ranges: 'calibration', calibration_images: 3 });
  const batches = await Promise.all(
    ['0.png', '1.png', 'more/2.png'].map(async (name) => {
      const fitted = sharp(join(images, name)).resize(32, 32, { fit: 'fill' }).toColourspace('srgb').raw();
      return { input: Float32Array.from(await fitted.toBuffer(), (p) => -1 + (p / 255) * 2), batch: 1 };
    }),
  );
  assert.deepEqual(manifest.ranges, calibrate(graph, weights, manifest.input, batches));
  const one = await imported(folder, { calibration_images: 1 }, images);
  assert.equal(one.manifest.imported?.calibration_images, 1);
  await rm(join(images, 'more'), { recursive: true });
  for (const i of [0, 1]) await writeFile(join(images, `${i}.png`), 'broken');
  await assert.rejects(imported(folder, {}, images), {
    code: 'invalid_field',
    message: /calibration: .*3 files and no image/,
  });
  await assert.rejects(imported(folder, {}, join(images, 'none')), { code: 'invalid_field', message: /calibration/ });
});

test('a folder of much else than images is looked through only so far', async (t) => {
  const [folder, images] = [await written(t), folderOf(t)];
  const names = Array.from({ length: 150 }, (_, i) => `${100 + i}.txt`);
  for (const name of names) await writeFile(join(images, name), 'no image');
  await writeFile(
    join(images, 'zz.png'),
    await sharp({ create: { width: 9, height: 9, channels: 3, background: '#123' } })
      .png()
      .toBuffer(),
  );
  const { manifest } = await imported(folder, { calibration_images: 6 }, images);
  assert.equal(manifest.imported?.calibration_images, 1);
  await assert.rejects(imported(folder, { calibration_images: 4 }, images), {
    code: 'invalid_field',
    message: /calibration: expected a folder of images, got "141 other files"/,
  });
});

test('weights that are missing, short, of another shape or dtype are named', async (t) => {
  const cases: [RegExp, (weights: Record<string, unknown>[], shard: string) => unknown][] = [
    [/"Conv1\/kernel": expected an entry in weightsManifest/, (weights) => weights.splice(0, 1)],
    [
      /"Conv1\/kernel": expected shape \[3, 3, 3, 16\], got \[3, 3, 16, 3\]/,
      ([first]) => (first.shape = [3, 3, 16, 3]),
    ],
    [/"Conv1\/kernel": expected dtype .*, got "int64"/, ([first]) => (first.dtype = 'int64')],
    [
      /"Conv1\/kernel": quantization: dtype: expected one of float16, uint8, uint16/,
      ([first]) => (first.quantization = { dtype: 'int4' }),
    ],
    [/weights file group1-shard1of\d+.bin.*: expected \d+ bytes, got \d+/, (_, shard) => truncate(shard, 7)],
    [/group1-shard2of\d.bin: expected a file that can be read, got "ENOENT"/, (_, shard) => rm(shard)],
  ];
  for (const [message, change] of cases) {
    const folder = await written(t, { shardBytes: 50_000 });
    const path = join(folder, 'model.json');
    const document = JSON.parse(await readFile(path, 'utf8'));
    const [{ paths, weights }] = document.weightsManifest;
    await change(weights, join(folder, paths[1]));
    await writeFile(path, JSON.stringify(document));
    await assert.rejects(imported(folder), { code: 'bad_model', message });
  }
  const folder = await written(t);
  const document = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8'));
  await writeFile(join(folder, 'model.json'), JSON.stringify({ ...document, weightsManifest: undefined }));
  await assert.rejects(imported(folder), { code: 'bad_model', message: /weightsManifest: expected an array/ });
});

test('a file named twice, and weights of more float32 than is allowed, are refused before they are read', async (t) => {
  const folder = await written(t, { quantize: 'uint8' });
  const options = (maxModelBytes: number) => ({ ...OPTIONS, maxModelBytes });
  const parameters = [...small.weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  await importModelFolder(folder, null, request(), options(4 * parameters));
  const path = join(folder, 'model.json');
  const document = JSON.parse(await readFile(path, 'utf8'));
  const [{ paths }] = document.weightsManifest;
  await rm(join(folder, paths[0]));
  await assert.rejects(importModelFolder(folder, null, request(), options(4 * parameters - 1)), {
    code: 'bad_model',
    message: /weights: expected at most \d+ bytes as float32/,
  });
  for (const manifest of [
    [{ paths: [paths[0], paths[0]], weights: document.weightsManifest[0].weights }],
    [...document.weightsManifest, { paths: [paths[0]], weights: [] }],
  ]) {
    await writeFile(path, JSON.stringify({ ...document, weightsManifest: manifest }));
    await assert.rejects(imported(folder), { code: 'bad_model', message: /paths: expected each file once/ });
  }
});

test('labels.txt is a file of the folder, of some size', async (t) => {
  const folder = await written(t);
  const outside = join(folderOf(t), 'secret');
  await writeFile(outside, 'a secret\n');
  await symlink(outside, join(folder, 'labels.txt'));
  await assert.rejects(imported(folder), { code: 'bad_model', message: /labels.txt: expected a file in the folder/ });
  await rm(join(folder, 'labels.txt'));
  await writeFile(join(folder, 'labels.txt'), '');
  await truncate(join(folder, 'labels.txt'), 5_000_000);
  await assert.rejects(imported(folder), { code: 'bad_model', message: /labels.txt: expected at most 4194304 bytes/ });
});

/** A document of a list of numbers into one dense layer. */
async function denseModel(t: TestContext, inputs: number, weight: number): Promise<string> {
  const folder = folderOf(t);
  const layers = [
    { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, inputs] } },
    { class_name: 'Dense', config: { name: 'out', units: 2, use_bias: false } },
  ];
  const weights = [{ name: 'out/kernel', shape: [inputs, 2], dtype: 'float32' }];
  const modelTopology = { class_name: 'Sequential', config: { name: 's', layers } };
  const document = { modelTopology, weightsManifest: [{ paths: ['w.bin'], weights }] };
  await writeFile(join(folder, 'model.json'), JSON.stringify(document));
  await writeFile(join(folder, 'w.bin'), Buffer.from(new Float32Array(inputs * 2).fill(weight).buffer));
  return folder;
}

test('a model of a list of numbers takes the image that the import names', async (t) => {
  const folder = await denseModel(t, 12, 0.5);
  assert.deepEqual((await imported(folder)).manifest.input.shape, [1, 12, 1]);
  assert.deepEqual((await imported(folder, { input_shape: [2, 2, 3] })).manifest.input.shape, [2, 2, 3]);
  await assert.rejects(imported(folder, { input_shape: [2, 2, 2] }), { code: 'invalid_field', message: /12 numbers/ });
  const grey = imported(folder, { input_shape: [3, 4, 1], preprocessing: 'torch' });
  await assert.rejects(grey, { code: 'invalid_field', message: /preprocessing.*1 channels, got "torch"/ });
  const net = await written(t);
  await assert.rejects(imported(net, { input_shape: [16, 16, 3] }), {
    code: 'invalid_field',
    message: /\[32, 32, 3\]/,
  });
});

test('sums that could leave 32 bits are found when the model is imported', async (t) => {
  await imported(await denseModel(t, 60_000, 0.5));
  await assert.rejects(imported(await denseModel(t, 70_000, 0.5)), {
    code: 'bad_model',
    message: /out: 70000 inputs could overflow/,
  });
});
