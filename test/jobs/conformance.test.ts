import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, eventsOf, request, runs, until } from './fixtures.js';
import { IMPLEMENTATIONS } from './implementations.js';

/** What every queue has to do, whatever keeps its jobs. */
for (const { name, skip, open } of IMPLEMENTATIONS) {
  describe(`${name}: from accepted to done`, { skip }, () => {
    it('runs a job that it accepted to success', async (t) => {
      const { queue, store } = await open(t);
      const { job, created } = await queue.submit(request({ steps: 3 }), null);
      assert.equal(created, true);
      assert.equal(job.state, 'queued');
      assert.match(job.id, /^[0-9a-hjkmnp-tv-z]{26}$/);

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

    it('keeps which request asked for a job', async (t) => {
      const { queue } = await open(t);
      const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
      const origin = { request_id: 'mine', traceparent };
      const { job } = await queue.submit(request({ steps: 1 }), 'key', origin);
      assert.deepEqual(job.origin, origin);
      assert.deepEqual((await ended(queue, job.id)).origin, origin);
      const again = await queue.submit(request({ steps: 1 }), 'key', { request_id: 'another', traceparent: null });
      assert.deepEqual(again.job.origin, origin, 'of the request that made it');
      assert.equal((await queue.submit(request({ steps: 1 }), null)).job.origin, null);
    });

    it('runs one job at a time, first in first out', async (t) => {
      const { queue, dataDir } = await open(t);
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
      const { queue } = await open(t);
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
      const { queue, store } = await open(t);
      const { job } = await queue.submit(request({}, { publish: false }), null);
      const done = await ended(queue, job.id);
      assert.equal(done.state, 'succeeded');
      assert.equal(done.result?.version, null);
      assert.deepEqual(store.jobs('net'), []);
    });

    it('records the error of a training that fails, and goes on with the next', async (t) => {
      const { queue } = await open(t);
      const bad = await queue.submit(request({ refuse: true }), null);
      const good = await queue.submit(request(), null);
      const failed = await ended(queue, bad.job.id);
      assert.equal(failed.state, 'failed');
      assert.equal(failed.attempts, 1);
      assert.deepEqual(failed.error, { code: 'bad_model', message: 'refused on demand' });
      assert.equal((await ended(queue, good.job.id)).state, 'succeeded');
    });

    it('knows no job that is not there', async (t) => {
      const { queue } = await open(t);
      for (const id of ['nothing', '../../etc/passwd', '__proto__']) {
        await assert.rejects(queue.get(id), { code: 'job_not_found' });
        await assert.rejects(queue.cancel(id), { code: 'job_not_found' });
        await assert.rejects(eventsOf(queue, id), { code: 'job_not_found' });
      }
    });
  });

  describe(`${name}: bounds`, { skip }, () => {
    it('takes so many waiting jobs and no more, also at once', async (t) => {
      const { queue } = await open(t, { maxJobs: 3 });
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
      const { queue } = await open(t, { maxJobs: 3 });
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
      await assert.rejects(queue.get(ids[2]), { code: 'job_not_found' });
      await assert.rejects(eventsOf(queue, ids[2]), { code: 'job_not_found' });
      // Its key is free again.
      const again = await queue.submit(request({ steps: 1 }), 'key-0');
      assert.equal(again.created, true);
    });
  });

  describe(`${name}: idempotency`, { skip }, () => {
    it('makes one job of one key, however many come at once', async (t) => {
      const { queue, dataDir } = await open(t);
      const answers = await Promise.all(Array.from({ length: 50 }, () => queue.submit(request(), 'once')));
      assert.equal(new Set(answers.map((a) => a.job.id)).size, 1);
      assert.equal(answers.filter((a) => a.created).length, 1);
      const { id } = answers[0].job;
      await ended(queue, id);
      const later = await queue.submit(request(), 'once');
      assert.deepEqual([later.created, later.job.id, later.job.state], [false, id, 'succeeded']);
      assert.deepEqual(
        runs(dataDir).filter((l) => l.startsWith('begin')),
        [`begin ${id} 1`],
      );
    });

    it('refuses the key for another request, and does not care about the order of fields', async (t) => {
      const { queue } = await open(t);
      const first = await queue.submit(request(), 'k');
      const turned = Object.fromEntries(Object.entries(request()).reverse()) as unknown as ReturnType<typeof request>;
      assert.equal((await queue.submit(turned, 'k')).job.id, first.job.id);
      await assert.rejects(queue.submit(request({}, { epochs: 6 }), 'k'), { code: 'idempotency_key_reused' });
      await assert.rejects(queue.submit(request(), ''), { code: 'invalid_field' });
      await assert.rejects(queue.submit(request(), 'x'.repeat(256)), { code: 'invalid_field' });
    });

    it('keeps the key over a restart, and answers a known key when the queue is full', async (t) => {
      const { queue, dataDir } = await open(t, { maxJobs: 1 });
      const running = await queue.submit(request({ steps: 100_000, stepMs: 1 }), 'a');
      await until('it runs', async () => (await queue.get(running.job.id)).state === 'running');
      const waiting = await queue.submit(request(), 'b');
      await assert.rejects(queue.submit(request(), 'c'), { code: 'too_many_requests' });
      assert.equal((await queue.submit(request(), 'b')).job.id, waiting.job.id);
      await queue.close();
      const { queue: again } = await open(t, { dataDir, maxJobs: 1 });
      const same = await again.submit(request(), 'b');
      assert.deepEqual([same.created, same.job.id], [false, waiting.job.id]);
      await assert.rejects(again.submit(request({}, { seed: 9 }), 'b'), { code: 'idempotency_key_reused' });
    });
  });

  describe(`${name}: cancel`, { skip }, () => {
    it('cancels a waiting job at once and never runs it', async (t) => {
      const { queue, dataDir } = await open(t);
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
      const { queue, dataDir, store } = await open(t);
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
      const { queue } = await open(t);
      const { job } = await queue.submit(request({ steps: 100_000, stepMs: 5 }), null);
      await until('it runs', async () => (await queue.get(job.id)).state === 'running');
      await Promise.allSettled([queue.cancel(job.id), queue.cancel(job.id), queue.cancel(job.id)]);
      assert.equal((await ended(queue, job.id)).state, 'cancelled');
    });

    it('ends a worker that does not listen, after a grace', async (t) => {
      const { queue } = await open(t, { cancelGraceMs: 50 });
      const { job } = await queue.submit(request({ steps: 100_000, stepMs: 5, deaf: true }), null);
      await until('it runs', async () => (await queue.get(job.id)).progress.step > 0);
      await queue.cancel(job.id);
      assert.equal((await ended(queue, job.id)).state, 'cancelled');
      const next = await queue.submit(request(), null);
      assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    });

    it('does not hide a version: a job that had published when the cancel came has succeeded', async (t) => {
      const { queue, store } = await open(t, { cancelGraceMs: 5_000 });
      const script = { steps: 20, stepMs: 10, deaf: true, crashAt: 'published', how: 'exit' } as const;
      const { job } = await queue.submit(request(script), null);
      await until('it runs', async () => (await queue.get(job.id)).progress.step > 0);
      await queue.cancel(job.id);
      const done = await ended(queue, job.id);
      assert.equal(done.state, 'succeeded');
      assert.deepEqual(store.jobs('net'), [job.id]);
    });
  });

  describe(`${name}: close`, { skip }, () => {
    for (const deaf of [false, true]) {
      it(`leaves the running job to be run again${deaf ? ', also when the worker does not listen' : ''}`, async (t) => {
        const { queue, dataDir } = await open(t, { closeGraceMs: 100 });
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

        const { queue: again } = await open(t, { dataDir, maxDeaths: 1 });
        const done = await ended(again, job.id);
        // maxDeaths is 1: a close does not count as a death.
        assert.deepEqual([done.state, done.attempts], ['succeeded', 2]);
        assert.equal((await ended(again, waiting.job.id)).state, 'succeeded');
        const order = runs(dataDir).filter((l) => l.startsWith('begin'));
        assert.deepEqual(order, [`begin ${job.id} 1`, `begin ${job.id} 2`, `begin ${waiting.job.id} 1`]);
      });
    }

    it('waits for submits under way, and can be called twice', async (t) => {
      const { queue, dataDir } = await open(t);
      const submits = Array.from({ length: 10 }, () => queue.submit(request(), null));
      await Promise.all([queue.close(), queue.close()]);
      const accepted = (await Promise.all(submits)).map(({ job }) => job.id);
      const { queue: again } = await open(t, { dataDir });
      const known = new Set((await again.list()).map(({ id }) => id));
      for (const id of accepted) assert.ok(known.has(id));
    });
  });

  describe(`${name}: a worker thread that crashes`, { skip }, () => {
    it('is started again, up to 3 times, where it just went away', async (t) => {
      const { queue, dataDir } = await open(t);
      const { job } = await queue.submit(request({ crashAt: 'step', how: 'exit' }), null);
      const next = await queue.submit(request(), null);
      const failed = await ended(queue, job.id);
      assert.deepEqual([failed.state, failed.attempts, failed.error?.code], ['failed', 3, 'interrupted']);
      assert.match(failed.error?.message ?? '', /3 times.*exit code 7/);
      assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
      const begun = runs(dataDir).filter((l) => l.startsWith('begin'));
      assert.deepEqual(begun, [...[1, 2, 3].map((n) => `begin ${job.id} ${n}`), `begin ${next.job.id} 1`]);
    });

    it('may succeed the second time', async (t) => {
      const { queue } = await open(t);
      const { job } = await queue.submit(request({ crashAt: 'step', how: 'exit', crashes: 1 }), null);
      const done = await ended(queue, job.id);
      assert.deepEqual([done.state, done.attempts, done.error], ['succeeded', 2, null]);
      const states = (await eventsOf(queue, job.id)).filter((e) => e.type === 'state').map((e) => e.data.state);
      assert.deepEqual(states, ['queued', 'running', 'queued', 'running', 'succeeded']);
    });

    it('fails the job where it throws or runs out of memory: the next time would be the same', async (t) => {
      const { queue } = await open(t);
      const throws = await queue.submit(request({ crashAt: 'step', how: 'throw' }), null);
      const thrown = await ended(queue, throws.job.id);
      assert.deepEqual([thrown.state, thrown.attempts], ['failed', 1]);
      assert.deepEqual(thrown.error, { code: 'training_failed', message: 'crashed on demand' });
    });

    it('that runs out of memory takes nothing with it', async (t) => {
      const { queue } = await open(t, { heapLimitMb: 64 });
      const eats = await queue.submit(request({ crashAt: 'step', how: 'memory' }), null);
      const eaten = await ended(queue, eats.job.id);
      assert.deepEqual([eaten.state, eaten.attempts, eaten.error?.code], ['failed', 1, 'out_of_memory']);
      const next = await queue.submit(request(), null);
      assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    });

    for (const crashAt of ['published', 'current'] as const) {
      for (const how of ['exit', 'throw'] as const) {
        it(`has published once when it dies (${how}) after the version is ${crashAt}`, async (t) => {
          const { queue, store } = await open(t);
          const { job } = await queue.submit(request({ crashAt, how }), null);
          const done = await ended(queue, job.id);
          assert.deepEqual([done.state, done.attempts, done.result?.version], ['succeeded', 1, 1]);
          assert.deepEqual(store.jobs('net'), [job.id]);
          assert.equal(store.current('net'), 1);
        });
      }
    }

    it('that cannot even start fails the job', async (t) => {
      const { queue } = await open(t, { workerUrl: new URL('./no-such-worker.js', import.meta.url) });
      const { job } = await queue.submit(request(), null);
      assert.equal((await ended(queue, job.id)).state, 'failed');
    });
  });
}
