import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { parseTrainRequest } from '../../src/jobs/validation.js';
import type { TrainingOptions } from '../../src/training/trainer.js';
import { ended, eventsOf, openQueue, realOptions, temporaryFolder, until } from './fixtures.js';

/** The real worker with the real trainer, on a few images. */
const small = { model: 'tiny', epochs: 1, batch_size: 16, limit: 64, regularizer: { kind: 'none' } };
const training: TrainingOptions = { evaluationLimit: 40, commit: 'abc' };

async function realQueue(t: TestContext) {
  const dataDir = temporaryFolder(t);
  const real = realOptions(dataDir, training);
  return { ...(await openQueue(t, { dataDir, ...real })), store: real.store };
}

describe('the worker thread', () => {
  it('trains, evaluates and publishes a version that is current at once, then goes on from it', async (t) => {
    const { queue, store } = await realQueue(t);
    const { job } = await queue.submit(parseTrainRequest(small), null);
    const done = await ended(queue, job.id);
    assert.equal(done.error, null);
    assert.equal(done.state, 'succeeded');
    assert.ok(done.backend !== null && done.backend.length > 0);
    const version = await store.get('tiny');
    assert.deepEqual([version.version, version.digest], [done.result?.version, done.result?.digest]);
    assert.equal(version.manifest.training?.job, job.id);
    assert.equal(version.manifest.training?.commit, 'abc');
    assert.equal(version.manifest.precisions['4x4'].images, 40);
    assert.equal(done.result?.accuracies['4x4'], version.manifest.precisions['4x4'].accuracy);
    const phases = (await eventsOf(queue, job.id)).map((e) => e.data.progress.phase);
    assert.deepEqual([phases[0], phases.at(-1)], ['waiting', 'done']);

    const second = await queue.submit(parseTrainRequest({ ...small, from: 'current', publish: false }), null);
    const again = await ended(queue, second.job.id);
    assert.deepEqual([again.state, again.error, again.result?.version], ['succeeded', null, null]);
    assert.equal((await store.models())[0].versions.length, 1);
  });

  it('is cancelled between steps, and says why a request cannot be met', async (t) => {
    const { queue, store } = await realQueue(t);
    const long = await queue.submit(parseTrainRequest({ ...small, limit: null, epochs: 500 }), null);
    const bad = await queue.submit(parseTrainRequest({ ...small, from: 7 }), null);
    await until('a step', async () => (await queue.get(long.job.id)).progress.step > 1);
    await queue.cancel(long.job.id);
    assert.equal((await ended(queue, long.job.id)).state, 'cancelled');
    const failed = await ended(queue, bad.job.id);
    assert.deepEqual([failed.state, failed.attempts, failed.error?.code], ['failed', 1, 'model_not_found']);
    assert.deepEqual(await store.models(), []);
  });
});
