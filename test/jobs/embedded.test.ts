import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, eventsOf, openQueue, request, runs, until } from './fixtures.js';

describe('embedded queue: from accepted to done', () => {
  it('has a job on disk before it accepts it, and runs it to success', async (t) => {
    const { queue, dataDir, store } = await openQueue(t);
    const { job, created } = await queue.submit(request({ steps: 3 }), null);
    assert.equal(created, true);
    assert.equal(job.state, 'queued');
    const file = JSON.parse(readFileSync(join(dataDir, 'jobs', `${job.id}.json`), 'utf8'));
    assert.equal(file.job.id, job.id);
    assert.deepEqual(file.job.request, job.request);

    const done = await ended(queue, job.id);
    assert.equal(done.state, 'succeeded');
    assert.equal(done.attempts, 1);
    assert.equal(done.backend, 'fake');
    assert.deepEqual(done.result, { model: 'net', version: 1, digest: 'digest-1', accuracies: { '4x4': 0.5 } });
    assert.equal(done.progress.phase, 'done');
    assert.equal(done.progress.progress, 1);
    assert.equal(done.progress.step, 3);
    assert.ok(done.created_at <= String(done.started_at) && String(done.started_at) <= String(done.finished_at));
    assert.deepEqual(store.jobs('net'), [job.id]);
    assert.deepEqual(await queue.counts(), { queued: 0, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
  });

  it('runs one job at a time, first in first out', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await queue.submit(request({ steps: 2 }), null)).job.id);
    assert.deepEqual([...ids].sort(), ids, 'ids sort by time');
    assert.equal(new Set(ids).size, 5);
    for (const id of ids) assert.equal((await ended(queue, id)).state, 'succeeded');
    const spans = runs(dataDir).filter((l) => /^(begin|end)/.test(l));
    assert.deepEqual(
      spans,
      ids.flatMap((id) => [`begin ${id} 1`, `end ${id} 1`]),
    );
    assert.deepEqual(
      (await queue.list()).map((j) => j.id),
      [...ids].reverse(),
      'newest first',
    );
  });

  it('shows the progress of the running job', async (t) => {
    const { queue } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 100_000, stepMs: 1 }), null);
    await until('a step', async () => (await queue.get(job.id)).progress.step > 2);
    const now = await queue.get(job.id);
    assert.equal(now.state, 'running');
    assert.equal(now.backend, 'fake');
    assert.equal(now.progress.phase, 'training');
    assert.equal(now.progress.loss, 1 / now.progress.step);
    assert.equal((await queue.list())[0].progress.phase, 'training');
    await queue.cancel(job.id);
  });

  it('does not publish where publish is false', async (t) => {
    const { queue, store } = await openQueue(t);
    const { job } = await queue.submit(request({}, { publish: false }), null);
    const done = await ended(queue, job.id);
    assert.equal(done.state, 'succeeded');
    assert.equal(done.result?.version, null);
    assert.deepEqual(store.jobs('net'), []);
  });

  it('records the error of a training that fails, and goes on with the next', async (t) => {
    const { queue } = await openQueue(t);
    const bad = await queue.submit(request({ refuse: true }), null);
    const good = await queue.submit(request(), null);
    const failed = await ended(queue, bad.job.id);
    assert.equal(failed.state, 'failed');
    assert.equal(failed.attempts, 1);
    assert.deepEqual(failed.error, { code: 'bad_model', message: 'refused on demand' });
    assert.equal((await ended(queue, good.job.id)).state, 'succeeded');
  });

  it('knows no job that is not there', async (t) => {
    const { queue } = await openQueue(t);
    for (const id of ['nothing', '../../etc/passwd', '__proto__']) {
      await assert.rejects(queue.get(id), { code: 'job_not_found' });
      await assert.rejects(queue.cancel(id), { code: 'job_not_found' });
      assert.throws(() => queue.events(id, 0, new AbortController().signal), { code: 'job_not_found' });
    }
  });
});

describe('embedded queue: bounds', () => {
  it('takes so many waiting jobs and no more, also at once', async (t) => {
    const { queue } = await openQueue(t, { maxJobs: 3 });
    const running = await queue.submit(request({ steps: 100_000, stepMs: 1 }), null);
    await until('it runs', async () => (await queue.get(running.job.id)).state === 'running');
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => queue.submit(request(), null)));
    const refused = tries.filter((r) => r.status === 'rejected');
    assert.equal(refused.length, 5);
    for (const { reason } of refused) {
      assert.equal(reason.code, 'too_many_requests');
      assert.ok(Number.isInteger(reason.extra.retry_after_s) && reason.extra.retry_after_s >= 1);
      assert.ok(reason.extra.retry_after_s <= 3600);
    }
    assert.equal((await queue.counts()).queued, 3);
    await queue.cancel(running.job.id);
    await until('room', async () => (await queue.counts()).queued < 3);
    await queue.submit(request(), null);
  });

  it('remembers the newest finished jobs only', async (t) => {
    const { queue, dataDir } = await openQueue(t, { maxJobs: 3 });
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) {
      const { job } = await queue.submit(request({ steps: 1 }), `key-${i}`);
      ids.push(job.id);
      await ended(queue, job.id);
    }
    await until('the old are gone', async () => (await queue.list()).length === 3);
    assert.deepEqual(
      (await queue.list()).map((j) => j.id),
      ids.slice(3).reverse(),
    );
    await until('their files are gone', () => !existsSync(join(dataDir, 'jobs', `${ids[2]}.events.ndjson`)));
    assert.equal(existsSync(join(dataDir, 'jobs', `${ids[2]}.json`)), false);
    // Its key is free again.
    const again = await queue.submit(request({ steps: 1 }), 'key-0');
    assert.equal(again.created, true);
  });
});

describe('embedded queue: idempotency', () => {
  it('makes one job of one key, however many come at once', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    const answers = await Promise.all(Array.from({ length: 50 }, () => queue.submit(request(), 'once')));
    assert.equal(new Set(answers.map((a) => a.job.id)).size, 1);
    assert.equal(answers.filter((a) => a.created).length, 1);
    const { id } = answers[0].job;
    // None of them may answer before the job is on disk.
    assert.ok(existsSync(join(dataDir, 'jobs', `${id}.json`)));
    await ended(queue, id);
    const later = await queue.submit(request(), 'once');
    assert.deepEqual([later.created, later.job.id, later.job.state], [false, id, 'succeeded']);
    assert.deepEqual(
      runs(dataDir).filter((l) => l.startsWith('begin')),
      [`begin ${id} 1`],
    );
  });

  it('refuses the key for another request, and does not care about the order of fields', async (t) => {
    const { queue } = await openQueue(t);
    const first = await queue.submit(request(), 'k');
    const turned = Object.fromEntries(Object.entries(request()).reverse()) as unknown as ReturnType<typeof request>;
    assert.equal((await queue.submit(turned, 'k')).job.id, first.job.id);
    await assert.rejects(queue.submit(request({}, { epochs: 6 }), 'k'), { code: 'idempotency_key_reused' });
    await assert.rejects(queue.submit(request(), ''), { code: 'invalid_field' });
    await assert.rejects(queue.submit(request(), 'x'.repeat(256)), { code: 'invalid_field' });
  });

  it('keeps the key over a restart, and answers a known key when the queue is full', async (t) => {
    const { queue, dataDir } = await openQueue(t, { maxJobs: 1 });
    const running = await queue.submit(request({ steps: 100_000, stepMs: 1 }), 'a');
    await until('it runs', async () => (await queue.get(running.job.id)).state === 'running');
    const waiting = await queue.submit(request(), 'b');
    await assert.rejects(queue.submit(request(), 'c'), { code: 'too_many_requests' });
    assert.equal((await queue.submit(request(), 'b')).job.id, waiting.job.id);
    await queue.close();
    const { queue: again } = await openQueue(t, { dataDir, maxJobs: 1 });
    const same = await again.submit(request(), 'b');
    assert.deepEqual([same.created, same.job.id], [false, waiting.job.id]);
    await assert.rejects(again.submit(request({}, { seed: 9 }), 'b'), { code: 'idempotency_key_reused' });
  });
});

describe('embedded queue: cancel', () => {
  it('cancels a waiting job at once and never runs it', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    const first = await queue.submit(request({ steps: 100_000, stepMs: 1 }), null);
    const second = await queue.submit(request(), null);
    const third = await queue.submit(request(), null);
    const cancelled = await queue.cancel(second.job.id);
    assert.equal(cancelled.state, 'cancelled');
    assert.ok(cancelled.finished_at !== null);
    await assert.rejects(queue.cancel(second.job.id), { code: 'job_finished' });
    await queue.cancel(first.job.id);
    assert.equal((await ended(queue, third.job.id)).state, 'succeeded');
    assert.equal(
      runs(dataDir).some((l) => l.startsWith('begin') && l.includes(second.job.id)),
      false,
    );
    const types = (await eventsOf(queue, second.job.id)).map((e) => e.data.state);
    assert.deepEqual(types, ['queued', 'cancelled']);
  });

  it('stops a running job within one step, and publishes nothing', async (t) => {
    const { queue, dataDir, store } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 100_000, stepMs: 20 }), null);
    await until('a step', () => runs(dataDir).some((l) => l.startsWith('step-2')));
    await queue.cancel(job.id);
    const stepsThen = runs(dataDir).filter((l) => l.startsWith('step')).length;
    const done = await ended(queue, job.id);
    assert.equal(done.state, 'cancelled');
    assert.equal(done.result, null);
    // The step that was under way may end; that the file is read a moment late may hide one more.
    const stepsNow = runs(dataDir).filter((l) => l.startsWith('step')).length;
    assert.ok(stepsNow - stepsThen <= 1, `${stepsNow - stepsThen} steps after the cancel`);
    assert.ok(runs(dataDir).some((l) => l.startsWith('stop-before')));
    assert.deepEqual(store.jobs('net'), []);
    await assert.rejects(queue.cancel(job.id), { code: 'job_finished' });
  });

  it('may be asked for twice', async (t) => {
    const { queue } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 100_000, stepMs: 5 }), null);
    await until('it runs', async () => (await queue.get(job.id)).state === 'running');
    await Promise.allSettled([queue.cancel(job.id), queue.cancel(job.id), queue.cancel(job.id)]);
    assert.equal((await ended(queue, job.id)).state, 'cancelled');
  });

  it('ends a worker that does not listen, after a grace', async (t) => {
    const { queue } = await openQueue(t, { cancelGraceMs: 50 });
    const { job } = await queue.submit(request({ steps: 100_000, stepMs: 5, deaf: true }), null);
    await until('it runs', async () => (await queue.get(job.id)).progress.step > 0);
    await queue.cancel(job.id);
    assert.equal((await ended(queue, job.id)).state, 'cancelled');
    const next = await queue.submit(request(), null);
    assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
  });

  it('does not hide a version: a job that had published when the cancel came has succeeded', async (t) => {
    const { queue, store } = await openQueue(t, { cancelGraceMs: 5_000 });
    const script = { steps: 20, stepMs: 10, deaf: true, crashAt: 'published', how: 'exit' } as const;
    const { job } = await queue.submit(request(script), null);
    await until('it runs', async () => (await queue.get(job.id)).progress.step > 0);
    await queue.cancel(job.id);
    const done = await ended(queue, job.id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(store.jobs('net'), [job.id]);
  });
});

describe('embedded queue: close', () => {
  for (const deaf of [false, true]) {
    it(`leaves the running job to be run again${deaf ? ', also when the worker does not listen' : ''}`, async (t) => {
      const { queue, dataDir } = await openQueue(t, { closeGraceMs: 100 });
      const { job } = await queue.submit(request({ steps: 30, stepMs: 10, deaf }), null);
      const waiting = await queue.submit(request(), null);
      await until('a step', async () => (await queue.get(job.id)).progress.step > 0);
      const following = eventsOf(queue, waiting.job.id);
      await queue.close();
      assert.deepEqual(
        (await following).map((e) => e.data.state),
        ['queued'],
        'who follows is let go',
      );
      await assert.rejects(queue.submit(request(), null), { code: 'not_ready' });
      const begun = runs(dataDir).length;
      await sleep(50);
      assert.equal(runs(dataDir).length, begun, 'the worker is gone');

      const { queue: again } = await openQueue(t, { dataDir, maxDeaths: 1 });
      const done = await ended(again, job.id);
      // maxDeaths is 1: a close does not count as a death.
      assert.deepEqual([done.state, done.attempts], ['succeeded', 2]);
      assert.equal((await ended(again, waiting.job.id)).state, 'succeeded');
      const order = runs(dataDir).filter((l) => l.startsWith('begin'));
      assert.deepEqual(order, [`begin ${job.id} 1`, `begin ${job.id} 2`, `begin ${waiting.job.id} 1`]);
    });
  }

  it('waits for submits under way, and can be called twice', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    const submits = Array.from({ length: 10 }, () => queue.submit(request(), null));
    await Promise.all([queue.close(), queue.close()]);
    const accepted = await Promise.all(submits);
    for (const { job } of accepted) assert.ok(existsSync(join(dataDir, 'jobs', `${job.id}.json`)));
  });
});
