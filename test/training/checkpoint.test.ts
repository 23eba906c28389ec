/** A training that is cut off goes on from its last whole epoch, and ends as if it had not been. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Graph } from '../../src/model/graph.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { isForeign } from '../../src/training/checkpoint.js';
import type { Dataset, Split } from '../../src/training/datasets/dataset.js';
import { type FitProgress, fit } from '../../src/training/fit.js';
import { NO_REGULARIZER, RECIPE_DEFAULTS, TrainingCancelled, type TrainRequest } from '../../src/training/request.js';
import { BACKEND, everyLayer, graphOf, normals, randomWeights } from './nets.js';

const EPOCHS = 3;
const PER_EPOCH = 3;
const BATCH = 8;
/** A step asks once whether to stop, the validation once an epoch. */
const EPOCH_ASKS = PER_EPOCH + 1;

const REQUEST: TrainRequest = {
  model: 'tiny',
  architecture: 'lenet',
  dataset: 'mnist',
  from: null,
  epochs: EPOCHS,
  batch_size: BATCH,
  learning_rate: 2e-3,
  ...RECIPE_DEFAULTS,
  regularizer: { ...NO_REGULARIZER, kind: 'gradient-l1', ratio_weights: 0.2, ratio_activations: 0.1 },
  seed: 1,
  limit: null,
  publish: true,
};

/** Noise in the shape of the net's input, with mirror images and shifts. */
function noise(content?: string): Dataset {
  const split = (seed: number, size: number): Split => ({
    size,
    batch: async (indices) => ({
      input: Float32Array.from(Array.from(indices).flatMap((i) => [...normals(seed + i, 11 * 10 * 2)])),
      labels: Int32Array.from(indices, (i) => (i * 7) % 4),
    }),
  });
  return {
    name: 'noise',
    content,
    inputShape: [11, 10, 2],
    inputRange: [-1, 1],
    labels: ['a', 'b', 'c', 'd'],
    augmentation: { shift: 1, flip: true },
    train: split(1000, PER_EPOCH * BATCH),
    validation: split(2000, 20),
    test: split(3000, 20),
  };
}

let graph: Graph;
before(async () => {
  await loadBackend(BACKEND);
  graph = graphOf(everyLayer());
});

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-checkpoint-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** @param stopAfter so often it may ask whether to stop before it is told to */
async function run(
  request: TrainRequest,
  path?: string,
  stopAfter = Number.POSITIVE_INFINITY,
  { backend = BACKEND as string, commit = 'abc', content = 'noise' } = {},
) {
  const checkpoint = path === undefined ? path : { path, backend, commit };
  const told: FitProgress[] = [];
  const saved: number[] = [];
  const notices: string[] = [];
  let asked = 0;
  const hooks = {
    onStep: (progress: FitProgress) => void told.push(progress),
    onCheckpoint: () => void saved.push(told.at(-1)?.step ?? -1),
    onNotice: (level: string, text: string) => void notices.push(`${level}: ${text}`),
    isCancelled: () => ++asked > stopAfter,
  };
  const tensors = tf.memory().numTensors;
  const fitted = await fit(graph, randomWeights(graph, 9), noise(content), request, hooks, checkpoint).catch(
    (error) => {
      if (error instanceof TrainingCancelled) return null;
      throw error;
    },
  );
  assert.ok(tf.memory().numTensors <= tensors, 'tensors are left');
  const weights = [...(fitted?.weights.values() ?? [])].map(({ data }) => Buffer.from(data.slice().buffer));
  return { weights: Buffer.concat(weights), history: fitted?.history, told, saved, notices };
}

const recipes: [string, Partial<TrainRequest>][] = [
  ['Adam, strengths by ratio, averaged weights', { weight_averaging: 0.9 }],
  [
    'SGD, any width and kurtosis, from the second epoch on',
    {
      optimizer: { kind: 'sgd', momentum: 0.9, weight_decay: 1e-3 },
      learning_rate: 0.02,
      regularizer: {
        ...NO_REGULARIZER,
        kind: ['any-width', 'kurtosis'],
        widths: [4, 8, 32],
        lambda_kurtosis: 1,
        start_epoch: 1,
      },
    },
  ],
];
for (const [name, recipe] of recipes) {
  test(`cut off twice, a training has the same weights and history bit for bit: ${name}`, async (t) => {
    const request = { ...REQUEST, ...recipe };
    const file = join(temporaryFolder(t), 'checkpoint');
    const whole = await run(request);
    assert.deepEqual([whole.saved, whole.notices], [[], []]);

    const first = await run(request, file, EPOCH_ASKS + 2);
    assert.deepEqual(first.saved, [PER_EPOCH]);
    const second = await run(request, file, EPOCH_ASKS + 1);
    assert.deepEqual(second.saved, [2 * PER_EPOCH]);
    assert.match(second.notices.join(), /^info: training goes on after 1 epochs, from checkpoint \S+checkpoint$/);
    assert.equal(second.told[0].step, PER_EPOCH, 'progress goes on where it was');
    assert.equal(second.told[0].accuracy, whole.history?.[0].validation_accuracy);
    const last = await run(request, file);
    assert.equal(last.told[0].step, 2 * PER_EPOCH);
    assert.deepEqual(last.saved, [3 * PER_EPOCH]);
    assert.deepEqual(last.history, whole.history);
    assert.ok(last.weights.equals(whole.weights), 'the weights differ');
    assert.deepEqual(readdirSync(join(file, '..')), ['checkpoint'], 'nothing is left beside it');
  });
}

test('a file that is torn, foreign or of another training is said and not used, and then replaced', async (t) => {
  const file = join(temporaryFolder(t), 'checkpoint');
  const request = { ...REQUEST, epochs: 1, regularizer: NO_REGULARIZER };
  const whole = await run(request, file);
  const good = readFileSync(file);
  assert.equal(await isForeign(file), false);
  assert.equal(await isForeign(`${file}-that-is-not-there`), false);
  const flipped = Buffer.from(good);
  flipped[flipped.length >> 1] ^= 1;
  const cases: [string, Buffer, RegExp, Partial<TrainRequest>?][] = [
    ['empty', Buffer.alloc(0), /not a checkpoint/],
    ['foreign', Buffer.from('x'.repeat(500)), /not a checkpoint/],
    ['torn', good.subarray(0, -5), /not whole/],
    ['with one bit flipped', flipped, /not whole/],
    ['of another seed', good, /another training/, { seed: 2 }],
    ['of another recipe', good, /another training/, { learning_rate: 1e-3 }],
    ['of another number of epochs', good, /another training/, { epochs: 2 }],
  ];
  for (const [what, bytes, why, change] of cases) {
    writeFileSync(file, bytes);
    const { notices, saved, weights } = await run({ ...request, ...change }, file, change && 0);
    assert.equal(notices.length, 1, what);
    assert.match(notices[0], /^warn: checkpoint \S+ is not used: /);
    assert.match(notices[0], why);
    if (change) continue;
    assert.deepEqual(saved, [PER_EPOCH]);
    assert.ok(weights.equals(whole.weights), what);
  }
  writeFileSync(file, good);
  for (const change of [{ backend: 'another' }, { commit: 'another' }, { content: 'another' }]) {
    assert.match((await run(request, file, 0, change)).notices.join(), /another training or backend/);
  }
  assert.equal(await isForeign(file), false);
  writeFileSync(file, 'precious');
  assert.equal(await isForeign(file), true);
  // What only names the result does not matter.
  writeFileSync(file, good);
  const renamed = await run({ ...request, model: 'other', publish: false }, file);
  assert.deepEqual([renamed.notices.length, renamed.saved], [1, []]);
  assert.ok(renamed.weights.equals(whole.weights));
});

test('a checkpoint that cannot be written costs the training nothing', async (t) => {
  const file = join(temporaryFolder(t), 'no-such-folder', 'checkpoint');
  const { notices, saved, history } = await run({ ...REQUEST, epochs: 1 }, file);
  assert.match(notices.join(), /^warn: the checkpoint cannot be written: ENOENT/);
  assert.deepEqual([saved, history?.length, existsSync(file)], [[], 1, false]);
});
