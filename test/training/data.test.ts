/** What a request and a starting point make of a data set, and what class weights do to the loss. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { ServiceError } from '../../src/errors.js';
import { parseTrainRequest } from '../../src/jobs/validation.js';
import type { InputSpec, TrainingRecord } from '../../src/model/manifest.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { lenet } from '../../src/training/architectures/lenet.js';
import { openData } from '../../src/training/data.js';
import { augment } from '../../src/training/datasets/augmentation.js';
import { weightsOfClasses } from '../../src/training/datasets/class-weights.js';
import { VALIDATION_SHARE } from '../../src/training/datasets/dataset.js';
import { findDataset } from '../../src/training/datasets/table.js';
import { crossEntropy } from '../../src/training/pass.js';
import { Random as SeededRandom } from '../../src/training/random.js';
import { heldOutShare } from '../../src/training/requantizing.js';
import type { StartingPoint, TrainingProgress } from '../../src/training/request.js';
import { train } from '../../src/training/trainer.js';
import { imageFiles, shades, writeAll } from '../support/data-files.js';
import { Random } from '../support/random.js';
import { BACKEND } from './nets.js';

before(() => loadBackend(BACKEND));

async function dataDir(t: TestContext, settings: object = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-data-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const images = await imageFiles({ a: shades(30, 0, 60), b: shades(10, 190, 250) });
  const files = { ...images, 'b/bad.gif': 'x', 'dataset.json': JSON.stringify({ image_size: 16, ...settings }) };
  await writeAll(join(folder, 'datasets', 'set'), files);
  return folder;
}

const request = (body: object = {}) => parseTrainRequest({ model: 'm', dataset: 'set', ...body });

async function opened(t: TestContext, dir: string, body: object = {}, start?: StartingPoint) {
  const data = await openData(request(body), start, { dataDir: dir });
  t.after(() => data.close());
  return data;
}

test('a request goes before the data set, field by field', async (t) => {
  const dir = await dataDir(t, { augmentation: { shift: 3, flip: false }, class_weights: 'balanced' });
  const own = await opened(t, dir);
  assert.deepEqual(own.augmentation, { shift: 3, flip: false });
  assert.deepEqual(own.inputShape, [16, 16, 3]);
  assert.ok(own.lossWeights !== null && own.lossWeights[1] > own.lossWeights[0]);
  const asked = await opened(t, dir, {
    augmentation: { flip: true },
    image_size: 12,
    class_weights: { b: 2.5 },
    validation_share: 0.4,
  });
  assert.deepEqual(asked.augmentation, { shift: 3, flip: true });
  assert.deepEqual(asked.inputShape, [12, 12, 3]);
  assert.deepEqual([...(asked.lossWeights ?? [])], [1, 2.5]);
  assert.ok(asked.validation.size > own.validation.size);
  assert.deepEqual([own.validationShare, asked.validationShare], [VALIDATION_SHARE, 0.4]);
  assert.equal((await opened(t, dir, { class_weights: 'none' })).lossWeights, null);
});

test('a quantiser is chosen anew on images that the training held out, by the share that it held out', async (t) => {
  const dir = await dataDir(t);
  const data = await opened(t, dir, { validation_share: 0.05 });
  const training = { dataset: 'set', validation_share: 0.5 } as TrainingRecord;
  assert.equal(heldOutShare({ training }, 'set'), 0.5);
  assert.deepEqual(
    [heldOutShare({ training }, 'other'), heldOutShare({ training: null }, 'set')],
    [undefined, undefined],
  );
  const again = await findDataset(
    'set',
    dir,
  )({ input: data.input, validationShare: heldOutShare({ training }, 'set') });
  t.after(() => again.close());
  assert.ok(again.validation.size > data.validation.size);
});

test('the content of a data set follows its files', async (t) => {
  const dir = await dataDir(t);
  const first = await opened(t, dir);
  assert.equal((await opened(t, dir, { validation_share: 0.05 })).content, first.content);
  await writeAll(join(dir, 'datasets', 'set'), await imageFiles({ b: shades(10, 150, 200) }));
  assert.notEqual((await opened(t, dir)).content, first.content);
});

test('balanced weights count the examples that a limit leaves', async (t) => {
  const dir = await dataDir(t);
  for (const limit of [null, 20]) {
    const data = await opened(t, dir, { class_weights: 'balanced', limit });
    const counts = [0, 0];
    for (let i = 0; i < (limit ?? data.train.size); i++) counts[data.train.labelOf(i)]++;
    const total = counts[0] + counts[1];
    const want = counts.map((n) => Math.fround(total / (2 * n)));
    assert.deepEqual([...(data.lossWeights ?? [])], want);
  }
  assert.deepEqual(
    [...weightsOfClasses('balanced', ['x', 'y', 'z'], [6, 0, 2])].map((w) => +w.toFixed(3)),
    [0.667, 1, 2],
  );
});

test('a starting point brings its input and the order of its labels, a topology its shape', async (t) => {
  const dir = await dataDir(t);
  const start = {
    input: { shape: [8, 10, 1], range: [-1, 1], resize: 'fill' },
    labels: ['b', 'a'],
  } as Partial<StartingPoint> as StartingPoint;
  const data = await opened(t, dir, { from: 'current' }, start);
  assert.deepEqual(
    [data.inputShape, data.inputRange, data.input.resize, data.labels],
    [[8, 10, 1], [-1, 1], 'fill', ['b', 'a']],
  );
  const { labels, input } = await data.train.batch([0]);
  const shade = Math.round(((input[0] + 1) / 2) * 255);
  assert.equal(data.labels[labels[0]], shade < 100 ? 'a' : 'b');
  assert.deepEqual((await opened(t, dir, { architecture: lenet([20, 24, 3], 2) })).inputShape, [20, 24, 3]);
});

test('images become what an imported net takes: channels of their own ranges, blue first, black where nothing is', async (t) => {
  const dir = await dataDir(t);
  const ranges: [number, number][] = [
    [-100, 155],
    [-50, 205],
    [0, 255],
  ];
  const input: InputSpec = {
    shape: [8, 8, 3],
    range: [-100, 255],
    channel_ranges: ranges,
    channel_order: 'bgr',
    resize: 'fill',
  };
  const start = { input, labels: ['a', 'b'] } as Partial<StartingPoint> as StartingPoint;
  const data = await opened(t, dir, { from: 'current' }, start);
  assert.deepEqual(data.input, input);
  const plain = await opened(
    t,
    dir,
    { from: 'current' },
    { ...start, input: { shape: [8, 8, 3], range: [0, 255], resize: 'fill' } },
  );
  const [got, pixels] = [(await data.train.batch([0])).input, (await plain.train.batch([0])).input];
  for (let i = 0; i < got.length; i += 3) {
    const [red, green, blue] = pixels.subarray(i, i + 3);
    assert.deepEqual([...got.subarray(i, i + 3)], [blue - 100, green - 50, red]);
  }
  const dark = { input: got.map((_, i) => ranges[i % 3][0]), labels: Int32Array.of(0) };
  const moved = augment(dark, { ...data, augmentation: { shift: 3, flip: true } }, new SeededRandom(1));
  assert.deepEqual(moved.input, dark.input, 'what is moved in is as black as what is there');
});

test('what does not fit is refused by field', async (t) => {
  const dir = await dataDir(t);
  const cases: [object, string, RegExp][] = [
    [{ augmentation: { shift: 16 } }, 'augmentation.shift', /less than the side of the images, 16×16, got 16/],
    [{ class_weights: { c: 2 } }, 'class_weights', /labels of the data set: "a", "b", got "c"/],
    [{ image_size: 8, architecture: lenet([20, 20, 3], 2) }, 'image_size', /20×20, what the net takes, got 8/],
  ];
  for (const [body, field, message] of cases) {
    await assert.rejects(openData(request(body), undefined, { dataDir: dir }), (error) => {
      assert.ok(error instanceof ServiceError && error.code === 'invalid_field');
      assert.equal(error.extra.field, field);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('a training on images tells of its preparation and of what it left out, and is the same every time', async (t) => {
  const body = { image_size: 16, epochs: 1, batch_size: 8, regularizer: { kind: 'none' }, class_weights: 'balanced' };
  const run = async () => {
    const dir = await dataDir(t);
    const told: TrainingProgress[] = [];
    const hooks = { onProgress: (p: TrainingProgress) => void told.push(p), isCancelled: () => false };
    const options = { backend: BACKEND, evaluationLimit: 4, dataDir: dir } as const;
    const { version } = await train(request(body), hooks, undefined, options);
    return { told, version };
  };
  const [first, second] = [await run(), await run()];
  const { told, version } = first;
  assert.deepEqual(
    [...new Set(told.map(({ phase }) => phase))],
    ['preparing', 'training', 'calibrating', 'evaluating'],
  );
  assert.ok(told.some(({ phase, step, steps }) => phase === 'preparing' && step === 41 && steps === 41));
  assert.ok(told.filter(({ phase }) => phase !== 'preparing').every(({ skipped }) => skipped?.count === 1));
  const { training, labels, input } = version.manifest;
  assert.equal(training?.validation_share, VALIDATION_SHARE);
  assert.match(training?.skipped?.files[0] ?? '', /^b\/bad.gif: /);
  assert.deepEqual([labels, input.shape, training?.class_weights], [['a', 'b'], [16, 16, 3], 'balanced']);
  for (const [name, { data }] of version.weights) assert.deepEqual(data, second.version.weights.get(name)?.data, name);
});

test('weighted cross-entropy is Σ w·CE / Σ w, and its gradient that of it', () => {
  const random = new Random(9);
  const [batch, classes] = [6, 4];
  const logits = Array.from({ length: batch }, () => Array.from({ length: classes }, () => random.normal()));
  const labels = Int32Array.from({ length: batch }, () => random.integer(0, classes - 1));
  const weights = Float32Array.from({ length: batch }, () => 0.1 + 3 * random.next());
  for (const smoothing of [0, 0.2]) {
    const loss = (z: number[][]) => {
      let [sum, total] = [0, 0];
      for (let i = 0; i < batch; i++) {
        const most = Math.max(...z[i]);
        const log = most + Math.log(z[i].reduce((s, v) => s + Math.exp(v - most), 0));
        const target = (c: number) => (c === labels[i] ? 1 - smoothing : 0) + smoothing / classes;
        sum += weights[i] * z[i].reduce((s, v, c) => s + target(c) * (log - v), 0);
        total += weights[i];
      }
      return sum / total;
    };
    const [got, gradient] = tf.tidy(() => {
      const found = crossEntropy(tf.tensor2d(logits), labels, smoothing, weights);
      return [found.loss.dataSync()[0], Array.from(found.dLogits.dataSync())];
    });
    assert.ok(Math.abs(got - loss(logits)) < 1e-5, `${got} for ${loss(logits)}`);
    for (let i = 0; i < batch; i++) {
      for (let c = 0; c < classes; c++) {
        const at = (step: number) =>
          loss(logits.map((row, r) => row.map((v, k) => (r === i && k === c ? v + step : v))));
        const want = (at(1e-4) - at(-1e-4)) / 2e-4;
        assert.ok(Math.abs(gradient[i * classes + c] - want) < 1e-5, `${gradient[i * classes + c]} for ${want}`);
      }
    }
    const same = tf.tidy(() => {
      const all = new Float32Array(batch).fill(2);
      return [
        crossEntropy(tf.tensor2d(logits), labels, smoothing, all),
        crossEntropy(tf.tensor2d(logits), labels, smoothing),
      ].map(({ loss }) => loss.dataSync()[0]);
    });
    assert.ok(Math.abs(same[0] - same[1]) < 1e-6);
  }
});
