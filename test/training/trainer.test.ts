import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { checkWeights } from '../../src/model/check.js';
import { importGraph } from '../../src/model/import.js';
import { precisionKey, STANDARD_PRECISIONS } from '../../src/quantize/precision.js';
import { lenet } from '../../src/training/architectures/lenet.js';
import {
  NO_REGULARIZER,
  RECIPE_DEFAULTS,
  TrainingCancelled,
  type TrainingProgress,
  type TrainRequest,
} from '../../src/training/request.js';
import { train } from '../../src/training/trainer.js';
import { BACKEND } from './nets.js';

const REQUEST: TrainRequest = {
  model: 'tiny',
  architecture: 'lenet',
  dataset: 'mnist',
  from: null,
  epochs: 1,
  batch_size: 32,
  learning_rate: 2e-3,
  ...RECIPE_DEFAULTS,
  regularizer: {
    ...NO_REGULARIZER,
    kind: 'gradient-l1',
    lambda_weights: 1e-3,
    lambda_activations: 1e-3,
    start_epoch: 0,
  },
  seed: 1,
  limit: 256,
  publish: true,
};
const OPTIONS = { backend: BACKEND, evaluationLimit: 40 } as const;

function hooks(cancelAfter = Number.POSITIVE_INFINITY) {
  const told: TrainingProgress[] = [];
  const backends: string[] = [];
  let asked = 0;
  return {
    told,
    backends,
    asked: () => asked,
    onProgress: (progress: TrainingProgress) => void told.push(progress),
    onBackend: (name: string) => void backends.push(name),
    isCancelled: () => ++asked > cancelAfter,
  };
}

test('a small training gives a version that is ready to publish', async () => {
  const follow = hooks();
  const { version, accuracies, backend } = await train(REQUEST, follow, undefined, { ...OPTIONS, commit: 'abc' });
  assert.ok(backend === BACKEND || backend.startsWith(`${BACKEND}-native-`), backend);
  assert.deepEqual(follow.backends, [backend]);
  const { manifest } = version;
  const graph = importGraph(version.topology);
  checkWeights(graph, version.weights);
  assert.equal(
    [...version.weights.values()].reduce((sum, { data }) => sum + data.length, 0),
    61706,
  );
  assert.ok([...version.weights.values()].every(({ data }) => data.every(Number.isFinite)));

  assert.deepEqual(Object.keys(manifest.precisions), STANDARD_PRECISIONS.map(precisionKey));
  for (const [key, row] of Object.entries(manifest.precisions)) {
    assert.equal(row.images, 40, key);
    assert.equal(row.accuracy, accuracies[key]);
    assert.ok(row.accuracy >= 0 && row.accuracy <= 1);
    assert.ok(row.memory_bytes > 0 && row.energy_uj > 0 && row.macs > 400_000, key);
  }
  assert.ok(manifest.precisions['4x4'].memory_bytes < manifest.precisions['8x8'].memory_bytes);
  assert.ok(manifest.default_precision in manifest.precisions);
  assert.deepEqual(Object.keys(manifest.ranges), ['conv1/relu', 'conv2/relu', 'dense1/relu', 'dense2/relu']);
  assert.deepEqual(manifest.input, { shape: [28, 28, 1], range: [0, 1], resize: 'contain' });
  assert.equal(manifest.labels.length, 10);

  const { training } = manifest;
  assert.ok(training);
  assert.equal(training.examples, 256);
  assert.equal(training.commit, 'abc');
  assert.equal(training.from, null);
  assert.match(training.command, /^npm run train -- --model tiny --dataset mnist .*--seed 1 --limit 256/);
  assert.equal(training.history.length, 1);
  assert.deepEqual(Object.keys(training.history[0]).sort(), [
    'epoch',
    'lambda_activations',
    'lambda_weights',
    'loss',
    'norm_activations',
    'norm_weights',
    'ratio_activations',
    'ratio_weights',
    'validation_accuracy',
  ]);

  const phases = [...new Set(follow.told.map(({ phase }) => phase))];
  assert.deepEqual(phases, ['training', 'calibrating', 'evaluating']);
  const progress = follow.told.map((p) => p.progress);
  assert.deepEqual(
    progress,
    [...progress].sort((a, b) => a - b),
  );
  assert.equal(progress.at(-1), 1);
  assert.ok(follow.told.some(({ step, steps }) => step === 8 && steps === 8));
});

test('a training can go on from the weights of another', async () => {
  const small = { ...REQUEST, limit: 64, regularizer: { ...REQUEST.regularizer, kind: 'none' as const } };
  const first = await train(small, hooks(), undefined, { ...OPTIONS, evaluationLimit: 1 });
  const { topology, weights } = first.version;
  const start = { graph: importGraph(topology), weights, topology, digest: 'feed' };
  const tiny = { ...small, learning_rate: 1e-8, from: 1 };
  const second = await train(tiny, hooks(), start, { ...OPTIONS, evaluationLimit: 1 });
  assert.equal(second.version.manifest.training?.from, 'feed');
  for (const [name, { data }] of second.version.weights) {
    const before = weights.get(name)?.data ?? assert.fail(name);
    assert.ok(
      data.every((w, i) => Math.abs(w - before[i]) < 1e-6),
      `${name} is not what it began from`,
    );
  }
});

test('a training from a topology, and one whose shapes do not fit', async () => {
  const request = (architecture: Record<string, unknown>) => ({ ...REQUEST, limit: 32, architecture });
  const { version } = await train(request(lenet([28, 28, 1], 10)), hooks(), undefined, {
    ...OPTIONS,
    evaluationLimit: 1,
  });
  assert.equal(version.manifest.training?.architecture, 'topology');
  for (const [topology, message] of [
    [lenet([28, 28, 3], 10), /expected shape \[28, 28, 1\], the input of data set mnist, got \[28, 28, 3\]/],
    [lenet([28, 28, 1], 9), /expected shape \[10\], the output .*, got \[9\]/],
  ] as const) {
    await assert.rejects(train(request(topology), hooks(), undefined, OPTIONS), (error) => {
      assert.ok(error instanceof ServiceError && error.code === 'invalid_field');
      assert.match(error.message, message);
      return true;
    });
  }
});

test('the same seed gives the same weights bit for bit, another seed others', async () => {
  const request = { ...REQUEST, limit: 96 };
  const weights = async (seed: number) => {
    const { version } = await train({ ...request, seed }, hooks(), undefined, { ...OPTIONS, evaluationLimit: 1 });
    return Buffer.concat([...version.weights.values()].map(({ data }) => Buffer.from(data.buffer)));
  };
  const first = await weights(3);
  assert.ok(first.equals(await weights(3)));
  assert.ok(!first.equals(await weights(4)));
});

test('before start_epoch a regularised training is a plain one', async () => {
  const request = { ...REQUEST, limit: 64 };
  const weights = async (regularizer: TrainRequest['regularizer']) => {
    const { version } = await train({ ...request, regularizer }, hooks(), undefined, {
      ...OPTIONS,
      evaluationLimit: 1,
    });
    return Buffer.concat([...version.weights.values()].map(({ data }) => Buffer.from(data.buffer)));
  };
  const none = await weights({ ...REQUEST.regularizer, kind: 'none' });
  assert.ok(none.equals(await weights({ ...REQUEST.regularizer, start_epoch: 1 })));
  assert.ok(!none.equals(await weights(REQUEST.regularizer)));
});

test('cancelling stops within one step, and between batches of the evaluation', async () => {
  for (const after of [0, 3]) {
    const follow = hooks(after);
    await assert.rejects(train(REQUEST, follow, undefined, OPTIONS), TrainingCancelled);
    assert.equal(follow.asked(), after + 1, 'asked again after it said yes');
    assert.ok(follow.told.every(({ step }) => step <= after));
  }
  const follow = hooks();
  const late = { ...follow, isCancelled: () => follow.told.some(({ phase }) => phase === 'evaluating') };
  await assert.rejects(train({ ...REQUEST, limit: 32 }, late, undefined, OPTIONS), TrainingCancelled);
});

test('cut off in its evaluation, a training that goes on from its checkpoint takes no step again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-trainer-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const options = { ...OPTIONS, checkpoint: join(folder, 'checkpoint') };
  const request = { ...REQUEST, limit: 64 };
  const first = hooks();
  const saved: TrainingProgress[] = [];
  const cut = {
    ...first,
    isCancelled: () => first.told.some(({ phase }) => phase === 'evaluating'),
    onCheckpoint: (progress: TrainingProgress) => void saved.push(progress),
  };
  await assert.rejects(train(request, cut, undefined, options), TrainingCancelled);
  assert.deepEqual(
    saved.map(({ phase, step, progress }) => [phase, step, progress]),
    [['training', 2, 0.85]],
  );
  const second = hooks();
  const { version } = await train(request, second, undefined, options);
  assert.deepEqual([...new Set(second.told.map(({ step }) => step))], [2]);
  assert.equal(second.told[0].accuracy, version.manifest.training?.history[0].validation_accuracy);
  assert.ok((version.manifest.training?.duration_s ?? 0) > 0);
});

test('a loss that is no longer finite ends the training, and says what may help', async () => {
  const request = { ...REQUEST, learning_rate: 1e30 };
  await assert.rejects(train(request, hooks(), undefined, OPTIONS), /training diverged: the loss is .* learning_rate/);
});

test('requests that cannot be met are refused with the field', async () => {
  const cases: [Partial<TrainRequest>, string][] = [
    [{ dataset: 'imagenet' }, 'dataset'],
    [{ architecture: 'alexnet' }, 'architecture'],
    [{ architecture: 'toString' }, 'architecture'],
    [{ width: 0 }, 'width'],
    [{ epochs: 0 }, 'epochs'],
    [{ epochs: 1.5 }, 'epochs'],
    [{ batch_size: 0 }, 'batch_size'],
    [{ learning_rate: 0 }, 'learning_rate'],
    [{ learning_rate: Number.NaN }, 'learning_rate'],
    [{ seed: -1 }, 'seed'],
    [{ limit: 0 }, 'limit'],
    [{ regularizer: { ...REQUEST.regularizer, lambda_weights: -1 } }, 'regularizer.lambda_weights'],
    [{ regularizer: { ...REQUEST.regularizer, start_epoch: -1 } }, 'regularizer.start_epoch'],
    [{ regularizer: { ...REQUEST.regularizer, kind: 'dropout' as never } }, 'regularizer.kind'],
  ];
  for (const [change, field] of cases) {
    await assert.rejects(
      train({ ...REQUEST, ...change }, hooks(), undefined, OPTIONS),
      (error) => error instanceof ServiceError && error.code === 'invalid_field' && error.extra.field === field,
      field,
    );
  }
});
