import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { METHOD_NAMES } from '../../src/reproduction/methods.js';
import type { RunRecord } from '../../src/reproduction/record.js';
import { type Execute, runStudy } from '../../src/reproduction/runner.js';
import type { BaseVersion, Run } from '../../src/reproduction/study.js';
import { outcome, studyIn } from './fixtures.js';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bitdial-reproduction-'));
});
after(() => rm(root, { recursive: true }));

const PROVENANCE = { commit: 'abc', reproduction: 'npm run reproduce -- cifar10', models: 'data/models' };

/** Stands for hours of training; fails at the runs whose name is given. */
function stub(failing: string[] = []) {
  const calls: { name: string; run: Run; base: BaseVersion | null }[] = [];
  const execute: Execute = async (run, base) => {
    const name = `${run.method} ${run.seed}`;
    calls.push({ name, run, base });
    if (failing.includes(name)) throw new Error('the loss is NaN');
    return outcome(0.9, 10 * run.seed + calls.length);
  };
  return { execute, calls, names: () => calls.map(({ name }) => name) };
}

const ALL = ['base 1', 'plain 1', 'gradient-l1-medium 1', 'base 2', 'plain 2', 'gradient-l1-medium 2'];

test('a study runs a base for each seed, then each method from it, and records each', async () => {
  const study = studyIn(join(root, 'whole'));
  const { execute, calls, names } = stub();
  const { records, failures } = await runStudy(study, execute, PROVENANCE);
  assert.deepEqual(names(), ALL);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    (await readdir(study.folder)).sort(),
    ALL.map((name) => `${name.replace(' ', '.seed')}.json`).sort(),
  );

  const [base, plain, regularised] = calls;
  assert.equal(base.base, null);
  assert.equal(base.run.epochs, 30);
  assert.deepEqual(base.run.body, {
    model: 'resnet-20-seed1',
    architecture: 'resnet-20',
    width: 1,
    dataset: 'cifar10',
    epochs: 30,
    batch_size: 128,
    optimizer: { kind: 'sgd', momentum: 0.9, weight_decay: 5e-4 },
    learning_rate: 0.2,
    schedule: 'one-cycle',
    seed: 1,
    regularizer: { kind: 'none' },
  });
  const version = { version: 11, digest: 'digest-11' };
  assert.deepEqual([plain.base, regularised.base], [version, version]);
  const { regularizer: none, ...recipe } = plain.run.body ?? {};
  const { regularizer, ...same } = regularised.run.body ?? {};
  assert.deepEqual(same, recipe, 'plain training has the same budget and recipe');
  assert.deepEqual(none, { kind: 'none' });
  assert.deepEqual(regularizer, { kind: 'gradient-l1', ratio_weights: 0.1, ratio_activations: 0.2 });
  assert.equal(recipe.from, 11);
  assert.equal(recipe.epochs, 6);

  const written = JSON.parse(await readFile(join(study.folder, 'plain.seed2.json'), 'utf8')) as RunRecord;
  assert.deepEqual(written, records[4]);
  assert.equal(written.seed, 2);
  assert.deepEqual([written.base_epochs, written.epochs], [30, 6]);
  assert.equal(written.commit, 'abc');
  assert.equal(written.reproduction, PROVENANCE.reproduction);
  assert.match(written.command ?? '', /^npm run train -- --model resnet-20-seed2 .*--from 24 .*--out data\/models$/);
  assert.doesNotMatch(written.command ?? '', /--architecture/);
  assert.equal(written.accuracies['min-max']['4x4'], 0.76);
});

test('a study that was killed goes on with what is missing, and a finished one does nothing', async () => {
  const study = studyIn(join(root, 'killed'));
  const first = stub();
  const killed = new Error('killed');
  const dying: Execute = async (run, base) => {
    if (first.calls.length === 4) throw killed;
    return first.execute(run, base);
  };
  // A process that dies has no catch: the hook leaves the loop as a kill does.
  const onFailure = (_run: Run, error: Error) => {
    throw error;
  };
  await assert.rejects(runStudy(study, dying, PROVENANCE, { onFailure }), killed);
  assert.deepEqual(first.names(), ALL.slice(0, 4));
  await writeFile(join(study.folder, '.tmp-12345678-1-ab'), '{"half":');

  const second = stub();
  const found: [string, boolean][] = [];
  const { records } = await runStudy(study, second.execute, PROVENANCE, {
    onDone: ({ method, seed }, was) => void found.push([`${method} ${seed}`, was]),
  });
  assert.deepEqual(second.names(), ALL.slice(4));
  assert.deepEqual(second.calls[0].base, { version: 24, digest: 'digest-24' }, 'from the base of the first call');
  assert.deepEqual(
    found,
    ALL.map((name, i) => [name, i < 4]),
  );
  assert.equal(records.length, 6);

  const third = stub();
  assert.deepEqual((await runStudy(study, third.execute, PROVENANCE)).records, records);
  assert.deepEqual(third.names(), []);
});

test('a run that fails is told and passed over, and tried again by the next call', async () => {
  const study = studyIn(join(root, 'failing'));
  const first = stub(['base 1', 'plain 2']);
  const { records, failures } = await runStudy(study, first.execute, PROVENANCE);
  assert.deepEqual(first.names(), ['base 1', 'base 2', 'plain 2', 'gradient-l1-medium 2']);
  assert.deepEqual(
    failures.map(({ run, error }) => [run.method, run.seed, error.message]),
    [
      ['base', 1, 'the loss is NaN'],
      ['plain', 2, 'the loss is NaN'],
    ],
  );
  assert.equal(records.length, 2);
  const second = stub();
  await runStudy(study, second.execute, PROVENANCE);
  assert.deepEqual(second.names(), ['base 1', 'plain 1', 'gradient-l1-medium 1', 'plain 2']);
});

test('records of other settings are refused before anything runs', async () => {
  const study = studyIn(join(root, 'mixed'), { seeds: [1] });
  await runStudy(study, stub().execute, PROVENANCE);
  for (const [changes, file] of [
    [{ epochs: 7 }, 'plain.seed1.json'],
    [{ baseEpochs: 20 }, 'base.seed1.json'],
    [{ limit: 100 }, 'base.seed1.json'],
    [{ testLimit: 100 }, 'base.seed1.json'],
    [{ width: 0.5 }, 'base.seed1.json'],
    [{ base: { folder: 'models/other', version: 1, digest: 'abc' } }, 'base.seed1.json'],
  ] as const) {
    const { execute, names } = stub();
    // More seeds first: none of them may begin.
    const other = studyIn(study.folder, { ...changes, seeds: [2, 1] });
    await assert.rejects(runStudy(other, execute, PROVENANCE), (error: Error) => {
      assert.ok(error.message.startsWith(`${join(study.folder, file)}: expected the record of {`), error.message);
      return true;
    });
    assert.deepEqual(names(), []);
  }
  await writeFile(join(study.folder, 'base.seed1.json'), '{"half":');
  await assert.rejects(
    runStudy(study, stub().execute, PROVENANCE),
    /base\.seed1\.json: expected a record of a run as JSON/,
  );
});

test('from scratch there is no base; with a base that is given none is trained', async () => {
  const scratch = stub();
  await runStudy(studyIn(join(root, 'scratch'), { mode: 'from-scratch', seeds: [3] }), scratch.execute, PROVENANCE);
  assert.deepEqual(scratch.names(), ['plain 3', 'gradient-l1-medium 3']);
  assert.equal(scratch.calls[1].run.epochs, 30);
  assert.equal(scratch.calls[1].run.body?.architecture, 'resnet-20');
  assert.equal(scratch.calls[1].base, null);

  const given = stub();
  const { records } = await runStudy(
    studyIn(join(root, 'given'), { base: { folder: 'models/x', version: 1, digest: 'abc' }, seeds: [1] }),
    given.execute,
    PROVENANCE,
  );
  assert.deepEqual(given.names(), ALL.slice(0, 3));
  assert.deepEqual([given.calls[0].run.body, given.calls[0].run.epochs], [null, 0]);
  assert.deepEqual(
    records.map((record) => [record.base_epochs, record.epochs]),
    [
      [0, 1],
      [1, 6],
      [1, 6],
    ],
    'the epochs of a base that was given are those of its history',
  );
  assert.deepEqual(given.calls[1].base, { version: 11, digest: 'digest-11' });
  assert.deepEqual(
    records.map((record) => record.given),
    ['abc', null, null],
  );
  const changed = studyIn(join(root, 'given'), { base: { folder: 'models/x', version: 1, digest: 'def' }, seeds: [1] });
  await assert.rejects(runStudy(changed, stub().execute, PROVENANCE), /"given":"def".*"given":"abc"/);
});

test('a request that no training takes is refused before anything runs', async () => {
  const { execute, names } = stub();
  await assert.rejects(
    runStudy(studyIn(join(root, 'refused'), { width: 9 }), execute, PROVENANCE),
    (error) => error instanceof ServiceError && error.extra.field === 'width',
  );
  assert.deepEqual(names(), []);
  assert.equal(new Set(METHOD_NAMES).size, METHOD_NAMES.length);
});
