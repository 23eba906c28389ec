import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ModelStore } from '../../src/model/store.js';
import { givenBase } from '../../src/reproduction/given-base.js';
import { laboratory, modelsFolder } from '../../src/reproduction/laboratory.js';
import { PRECISIONS } from '../../src/reproduction/record.js';
import { runStudy } from '../../src/reproduction/runner.js';
import type { Study } from '../../src/reproduction/study.js';
import { BACKEND } from '../training/nets.js';
import { studyIn } from './fixtures.js';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bitdial-laboratory-'));
});
after(() => rm(root, { recursive: true }));

const SMALL = {
  dataset: 'mnist',
  net: 'lenet',
  width: 0.25,
  seeds: [1],
  baseEpochs: 1,
  epochs: 1,
  limit: 64,
  testLimit: 10,
};

async function run(study: Study) {
  const provenance = { commit: null, reproduction: 'npm run reproduce -- mnist', models: 'data/models' };
  const hooks = { onProgress: () => undefined, isCancelled: () => false };
  const execute = laboratory(study, { ...provenance, backend: BACKEND, hooks, threads: 1 });
  return runStudy(study, execute, provenance);
}

test('a study of seconds: a base, methods that go on from it, and their figures', async () => {
  const study = studyIn(join(root, 'one'), SMALL);
  const { records, failures } = await run(study);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    records.map(({ method }) => method),
    ['base', 'plain', 'gradient-l1-medium'],
  );
  for (const { accuracies, images, examples, backend, history, base, method } of records) {
    for (const figures of Object.values(accuracies)) {
      assert.deepEqual(Object.keys(figures), [...PRECISIONS]);
      for (const share of Object.values(figures))
        assert.ok(Number.isInteger(Math.round(share * 1e6) / 1e5), `${share}`);
    }
    assert.equal(accuracies.ours['32x32'], accuracies['min-max']['32x32']);
    assert.ok(backend.startsWith(BACKEND), backend);
    assert.deepEqual([images, examples, history.length], [10, 64, 1]);
    assert.deepEqual(base, method === 'base' ? null : records[0].version);
  }
  const store = new ModelStore({ modelsDir: modelsFolder(study), writeTo: 'models' });
  for (const { version, base } of records) {
    const made = await store.get('lenet-seed1', version.version);
    assert.equal(made.digest, version.digest);
    assert.equal(made.manifest.training?.from, base?.digest ?? null);
  }

  // A version that is there already, as the base of another study.
  // Its current version, which publishing a study's runs does not move, is the base.
  const folder = join(modelsFolder(study), 'lenet-seed1');
  const wanted = { net: 'lenet', width: 0.25, dataset: 'mnist' };
  const given = studyIn(join(root, 'two'), { ...SMALL, methods: ['plain'], base: await givenBase(folder, wanted) });
  for (const [change, message] of [
    [{ net: 'resnet-20' }, /--base .*: expected the net resnet-20 of width 0.25, .* got another net/],
    [{ width: 1 }, /expected the net lenet of width 1,/],
    [{ dataset: 'cifar10' }, /expected a version that was trained on cifar10, got mnist/],
  ] as const) {
    await assert.rejects(givenBase(folder, { ...wanted, ...change }), message);
  }
  const trainedOn = await givenBase(folder, wanted, 1);
  assert.equal(trainedOn.version, 1, 'a version by its number');
  await assert.rejects(givenBase(folder, wanted, 9), /has no version 9/);
  const second = await run(given);
  assert.deepEqual(second.failures, []);
  const [base, plain] = second.records;
  assert.equal(base.command, null);
  const before = records.find(({ version }) => version.version === 1) ?? assert.fail();
  assert.deepEqual(base.accuracies, before.accuracies, 'the same weights give the same figures');
  assert.equal(plain.base?.digest, base.version.digest);
});
