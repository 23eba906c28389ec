/** A whole MobileNetV2 at 224×224, as Keras and the converter leave it, from its files to answers over HTTP. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { importApp } from '../http/import-app.js';
import { tarOf } from '../support/archives.js';
import { writeConverted } from '../support/keras-files.js';
import { mobileNetV2 } from '../support/mobilenet.js';
import { Random } from '../support/random.js';
import { folderOf, loadWithTfjs, predictWithTfjs, relativeError } from './fixtures.js';

const SIDE = 224;
const net = mobileNetV2({ alpha: 0.35, side: SIDE, classes: 1000, seed: 2 });

/** A photograph of nothing: waves of colour, of another size than the model takes. */
async function photograph(): Promise<Buffer> {
  const [width, height] = [320, 260];
  const random = new Random(12);
  const waves = Array.from({ length: 8 }, () => [
    random.normal(),
    random.normal() / 20,
    random.normal() / 20,
    random.next() * 6,
  ]);
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3];
    const v = waves.reduce((sum, [a, fy, fx, p]) => sum + a * Math.sin(fy * y + fx * x + p + c), 0);
    return Math.min(Math.max(128 + 40 * v, 0), 255);
  });
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Logits less their mean, which is what probabilities say of them. */
function centred(probabilities: ArrayLike<number>): number[] {
  const logs = Array.from(probabilities, (p) => Math.log(Math.max(p, 1e-30)));
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  return logs.map((v) => v - mean);
}

test('MobileNetV2 with float16 and with uint8 weights in shards: float answers are those of TF.js, 8 and 4 bits answer', async (t) => {
  const { http, post, dataDir } = await importApp(t);
  const image = await photograph();
  const ask = async (model: string, bits: number) => {
    const sent = http
      .post(`/predict?model=${model}&bits=${bits}&top_k=1000`)
      .set('content-type', 'image/png')
      .send(image);
    const { body } = await sent.expect(200);
    const probabilities = new Float64Array(1000);
    for (const { index, probability } of body.predictions[0].top) probabilities[index] = probability;
    return { top: body.predictions[0].index as number, logits: centred(probabilities) };
  };

  // One comes as an archive, the other by its path.
  const half = folderOf(t);
  const { document } = await writeConverted(half, net, { quantize: 'float16', shardBytes: 1_000_000 });
  const [{ paths }] = document.weightsManifest;
  assert.equal(paths.length, 4);
  const named = ['model.json', ...paths].map(async (name) => ({ name, data: await readFile(join(half, name)) }));
  const bytes = tarOf(await Promise.all(named));
  const upload = post('?model=half&preprocessing=mobilenet').set('content-type', 'application/x-tar').send(bytes);
  const added = (await upload.expect(201)).body;
  assert.deepEqual(added.layers, {
    zero_pad: 5,
    conv2d: 35,
    batch_norm: 52,
    relu: 35,
    depthwise_conv2d: 17,
    add: 10,
    global_avg_pool: 1,
    dense: 1,
    softmax: 1,
  });
  assert.deepEqual([added.parameters, added.labels, added.input.shape], [1_691_208, 1000, [SIDE, SIDE, 3]]);
  const coarse = join(dataDir, 'imports', 'coarse');
  await writeConverted(coarse, net, { quantize: 'uint8', shardBytes: 1_000_000 });
  await post().send({ model: 'coarse', path: 'coarse', preprocessing: 'mobilenet' }).expect(201);

  // What TF.js makes of the same files and the same pixels, as Keras prepares them.
  await loadBackend('wasm');
  const fitted = await sharp(image).resize(SIDE, SIDE, { fit: 'fill' }).toColourspace('srgb').raw().toBuffer();
  const pixels = Float32Array.from(fitted, (p) => p / 127.5 - 1);
  for (const [model, folder] of [
    ['half', half],
    ['coarse', coarse],
  ]) {
    const want = centred(await predictWithTfjs(await loadWithTfjs(folder), pixels));
    const [float, eight] = [await ask(model, 32), await ask(model, 8)];
    const error = relativeError(float.logits, want);
    assert.ok(error < 1e-3, `${model}: float logits are off by ${error} of their spread`);
    const rounded = relativeError(eight.logits, float.logits);
    // Random weights forgive less than trained ones: 52 layers deep, every rounding counts.
    assert.ok(rounded < 0.3, `${model}: 8-bit logits are off by ${rounded} of the spread`);
  }
  const four = await ask('half', 4);
  assert.ok(four.top >= 0 && four.top < 1000 && four.logits.every(Number.isFinite));
});
