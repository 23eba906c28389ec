/** A job that is cut off goes on from its last epoch: the real worker in a process that is killed. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { JobProgress } from '../../src/jobs/job.js';
import { Journal } from '../../src/jobs/journal.js';
import { accepted, advanced, failed, interrupted, requeued, started } from '../../src/jobs/transitions.js';
import { parseTrainRequest } from '../../src/jobs/validation.js';
import type { ModelStore } from '../../src/model/store.js';
import { NO_PROGRESS } from '../../src/training/request.js';
import { ended, eventsOf, keepingLogger, openQueue, realOptions, request, temporaryFolder, until } from './fixtures.js';
import { QueueChild } from './queue-child.js';

const PER_EPOCH = 8;
const EPOCHS = 2;
const training = { backend: 'wasm', evaluationLimit: 20 } as const;
const body = {
  epochs: EPOCHS,
  batch_size: 64,
  limit: PER_EPOCH * 64,
  regularizer: { ratio_weights: 0.1, ratio_activations: 0.1 },
};
const ID = '01hzzzzzz1aaaaaaaaaaaaaaaa';
const files = (dataDir: string) => readdirSync(join(dataDir, 'jobs')).filter((name) => name.startsWith(ID));

/** How far the job's checkpoint is, by its record on disk. */
function checkpointOf(dataDir: string): JobProgress | null {
  return JSON.parse(readFileSync(join(dataDir, 'jobs', `${ID}.json`), 'utf8')).checkpoint;
}

async function weightsOf(store: ModelStore, model: string): Promise<Buffer> {
  const weights = await store.source(await store.get(model)).readWeights();
  return Buffer.concat([...weights.values()].map(({ data }) => Buffer.from(data.slice().buffer)));
}

describe('a job whose process is killed with SIGKILL', () => {
  it('goes on from its last epoch, in its evaluation too, and ends with the same weights bit for bit', async (t) => {
    const dataDir = temporaryFolder(t);
    const journal = await Journal.open(join(dataDir, 'jobs'));
    await journal.save(accepted(ID, parseTrainRequest({ model: 'killed', ...body }), null, ''));
    for (const epochs of [1, EPOCHS]) {
      const child = new QueueChild(dataDir, { training });
      await until('a checkpoint', () => (checkpointOf(dataDir)?.step ?? 0) >= epochs * PER_EPOCH, 120_000);
      await child.kill();
      assert.ok(existsSync(join(dataDir, 'jobs', `${ID}.checkpoint`)));
    }

    const real = realOptions(dataDir, training);
    const { queue } = await openQueue(t, { dataDir, ...real });
    const { progress, attempts } = await queue.get(ID);
    assert.equal(progress.step, EPOCHS * PER_EPOCH, 'it is known at once how far it was');
    assert.ok(progress.progress > 0.8 && attempts <= 3);
    const done = await ended(queue, ID);
    assert.deepEqual([done.state, done.attempts, done.error, done.result?.version], ['succeeded', 3, null, 1]);
    const events = await eventsOf(queue, ID);
    const stepsOf = (attempt: number) =>
      events.flatMap(({ data }) => (data.attempts === attempt && data.state === 'running' ? [data.progress.step] : []));
    assert.ok(Math.min(...stepsOf(2)) >= PER_EPOCH, 'the second attempt begins with a step of the first epoch');
    assert.deepEqual([...new Set(stepsOf(3))], [EPOCHS * PER_EPOCH], 'the third trains again');
    assert.ok(events.some(({ data }) => (data.progress.norm_weights ?? 0) > 0));
    assert.deepEqual(files(dataDir).sort(), [`${ID}.events.ndjson`, `${ID}.json`], 'the checkpoint stays');

    const whole = await queue.submit(parseTrainRequest({ model: 'whole', ...body }), null);
    assert.equal((await ended(queue, whole.job.id)).attempts, 1);
    assert.ok((await weightsOf(real.store, 'killed')).equals(await weightsOf(real.store, 'whole')));
    const history = async (model: string) => (await real.store.get(model)).manifest.training?.history;
    assert.deepEqual(await history('killed'), await history('whole'));
  });
});

describe('the checkpoint of a job', () => {
  const progress: JobProgress = { phase: 'training', epochs: 5, ...NO_PROGRESS, progress: 0.4, step: 10, eta_s: 9 };
  const begun = started(accepted(ID, request(), null, ''));

  it('is where a job that is cut off stands', () => {
    const { job } = requeued(advanced(begun, progress));
    assert.deepEqual([job.state, job.progress], ['queued', { ...progress, phase: 'waiting', eta_s: null }]);
    assert.equal(requeued(begun).job.progress.progress, 0);
  });

  it('makes earlier deaths count no more', () => {
    const often = { ...begun, deaths: 2 };
    assert.equal(interrupted(often, 'a test', 3).job.state, 'failed');
    const further = interrupted(advanced(often, progress), 'a test', 3);
    assert.deepEqual([further.job.state, further.deaths], ['queued', 1]);
  });

  it('is read again with the record, and absent in an older one, whose progress is filled in', async (t) => {
    const dataDir = temporaryFolder(t);
    const journal = await Journal.open(dataDir);
    await journal.save(advanced(begun, progress));
    assert.deepEqual(await journal.load(keepingLogger()), [advanced(begun, progress)]);
    const path = join(dataDir, `${ID}.json`);
    const file = JSON.parse(readFileSync(path, 'utf8'));
    delete file.checkpoint;
    delete file.job.progress.norm_weights;
    delete file.job.progress.norm_activations;
    writeFileSync(path, JSON.stringify(file));
    const [old] = await journal.load(keepingLogger());
    assert.deepEqual([old.checkpoint, old.job.progress], [null, progress]);
  });

  it('is removed at the start where its job has ended or is gone', async (t) => {
    const dataDir = temporaryFolder(t);
    const journal = await Journal.open(dataDir);
    const [running, over, gone] = ['1', '2', '3'].map((n) => ID.replace('1a', `${n}a`));
    await journal.save({ ...begun, job: { ...begun.job, id: running } });
    await journal.save(failed({ ...begun, job: { ...begun.job, id: over } }, { code: 'x', message: 'y' }));
    for (const id of [running, over, gone]) writeFileSync(journal.checkpointPath(id), 'x');
    await journal.load(keepingLogger());
    assert.deepEqual(
      [running, over, gone].map((id) => existsSync(journal.checkpointPath(id))),
      [true, false, false],
    );
  });

  it('is removed when the job is cancelled while it waits to go on', async (t) => {
    const dataDir = temporaryFolder(t);
    const journal = await Journal.open(join(dataDir, 'jobs'));
    const other = accepted(ID.replace('1a', '0a'), request({ steps: 1000, stepMs: 5 }), null, '');
    await journal.save(started(other));
    await journal.save(requeued(advanced(begun, progress)));
    writeFileSync(journal.checkpointPath(ID), 'x');
    const { queue } = await openQueue(t, { dataDir });
    assert.equal((await queue.get(ID)).state, 'queued');
    assert.equal((await queue.cancel(ID)).state, 'cancelled');
    assert.equal(existsSync(journal.checkpointPath(ID)), false);
    await queue.cancel(other.job.id);
    await ended(queue, other.job.id);
  });
});
