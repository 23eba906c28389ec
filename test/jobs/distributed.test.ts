/** The queue over Redis across processes: trainers that are killed, stopped and closed. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobEvent } from '../../src/jobs/job.js';
import { ModelStore } from '../../src/model/store.js';
import { RedisServer, withoutRedis } from '../support/redis-server.js';
import { FakeStore } from './fake-store.js';
import { ended, eventsOf, request, runs, until } from './fixtures.js';
import { sharedRedis } from './implementations.js';
import { continuous, LONG, Replicas, states, stepped } from './replicas.js';

const skip = withoutRedis;

describe('several processes over one Redis', { skip, concurrency: 3 }, () => {
  it('take up the job of a trainer that is killed, and publish it once', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, first] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const script = { endless: 1, steps: 10, stepMs: 10 };
    const { job } = await queue.submit(request(script), 'key');
    const following = eventsOf(queue, job.id);
    await stepped(replicas);
    const second = await replicas.trainer();
    await first.kill();
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts, done.result?.version], ['succeeded', 2, 1]);
    assert.deepEqual(new FakeStore(replicas.dataDir).jobs('net'), [job.id]);
    const events = await following;
    continuous(events);
    assert.deepEqual(states(events), ['queued 0', 'running 1', 'queued 1', 'running 2', 'succeeded 2']);
    assert.equal((await queue.submit(request(script), 'key')).job.id, job.id);
    assert.equal(await second.close(), 0);
  });

  it('give up a job that kills each trainer, after three of them', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const queue = await replicas.serving();
    const { job } = await queue.submit(request({ crashAt: 'step', how: 'kill', stepMs: 50 }), null);
    const trainers = await Promise.all([1, 2, 3, 4].map(() => replicas.trainer()));
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts, done.error?.code], ['failed', 3, 'interrupted']);
    assert.match(done.error?.message ?? '', /3 times.*the process died/);
    assert.equal(trainers.filter((trainer) => trainer.isRunning).length, 1);
  });

  it('follow and cancel through any replica, wherever the job runs', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [one, other] = await Promise.all([replicas.serving(), replicas.serving(), replicas.trainer()]);
    const { job } = await one.submit(request(LONG), null);
    const seen: JobEvent[] = [];
    for await (const event of other.events(job.id, 0, new AbortController().signal)) {
      seen.push(event);
      if (event.data.progress.step > 2) break;
    }
    const shown = await other.get(job.id);
    assert.deepEqual([shown.state, shown.backend, shown.attempts], ['running', 'fake', 1]);
    assert.ok(shown.progress.step > 2 && shown.progress.loss !== null);
    // A client comes back to another replica, with the id of the last event that it saw.
    const rest = eventsOf(one, job.id, seen.at(-1)?.id);
    const told = await other.cancel(job.id);
    assert.ok(told.state === 'running' || told.state === 'cancelled');
    const all = [...seen, ...(await rest)];
    continuous(all);
    assert.deepEqual(states(all), ['queued 0', 'running 1', 'cancelled 1']);
    assert.deepEqual(new FakeStore(replicas.dataDir).jobs('net'), []);
    await assert.rejects(one.cancel(job.id), { code: 'job_finished' });
    assert.deepEqual(await one.counts(), { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 1 });
  });

  it('end a cancelled job whose trainer is gone, where no other trainer comes', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, trainer] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const { job } = await queue.submit(request(LONG), null);
    const following = eventsOf(queue, job.id);
    await stepped(replicas);
    await trainer.kill();
    assert.equal((await queue.cancel(job.id)).state, 'running');
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts], ['cancelled', 1]);
    assert.deepEqual(states(await following), ['queued 0', 'running 1', 'cancelled 1']);
    // The next trainer finds nothing of it to do.
    await replicas.trainer();
    const next = await queue.submit(request(), null);
    assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    assert.equal(runs(replicas.dataDir).filter((l) => l.startsWith(`begin ${job.id}`)).length, 1);
  });

  it('hide no version of one that had published before its trainer was gone', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, trainer] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const { job } = await queue.submit(request({ crashAt: 'published', how: 'kill' }), null);
    await trainer.gone;
    await queue.cancel(job.id);
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.result?.version], ['succeeded', 1]);
    assert.equal(new FakeStore(replicas.dataDir).current('net'), 1);
  });

  it('end a cancelled job whose trainer is out of touch, and which leaves it when it is back', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, trainer] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const { job } = await queue.submit(request(LONG), null);
    await stepped(replicas);
    trainer.pause();
    await queue.cancel(job.id);
    assert.equal((await ended(queue, job.id)).state, 'cancelled');
    trainer.resume();
    const next = await queue.submit(request(), null);
    assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    assert.equal((await queue.get(job.id)).state, 'cancelled');
    assert.deepEqual(new FakeStore(replicas.dataDir).jobs('net'), [next.job.id]);
  });

  it('leave a record that they cannot read to those who can, and read one of before', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const queue = await replicas.serving();
    const [newer, older] = [await queue.submit(request(), null), await queue.submit(request(), null)].map((s) => s.job);
    const { redis, recordKey } = replicas.client();
    const whole = (await redis.hget(recordKey(newer.id), 'record')) ?? '';
    await redis.hset(recordKey(newer.id), 'record', JSON.stringify({ format: 'bitdial-job/9', job: 'elsewhere' }));
    const { origin: _origin, ...job } = older;
    const { phase, epochs } = job.progress;
    const old = { job: { ...job, progress: { phase, epochs } }, deaths: 0, cancelRequested: false };
    await redis.hset(recordKey(older.id), 'record', JSON.stringify(old));
    assert.deepEqual(await queue.list(), [older]);
    await assert.rejects(queue.get(newer.id), { code: 'job_not_found' });
    await replicas.trainer();
    assert.equal((await ended(queue, older.id)).state, 'succeeded');
    assert.deepEqual(
      (await queue.list()).map(({ id }) => id),
      [older.id],
    );
    await redis.hset(recordKey(newer.id), 'record', whole);
    assert.equal((await ended(queue, newer.id)).state, 'succeeded');
  });

  it('make one job of one key, and ids that sort, whichever replicas are asked', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const queues = await Promise.all([1, 2, 3].map(() => replicas.serving()));
    const submits = Array.from({ length: 30 }, (_, i) => queues[i % 3].submit(request(), `key-${i % 2}`));
    const answers = await Promise.all(submits);
    assert.equal(answers.filter(({ created }) => created).length, 2);
    assert.equal(new Set(answers.map(({ job }) => job.id)).size, 2);
    const order: string[] = [];
    for (let i = 0; i < 6; i++) order.push((await queues[i % 3].submit(request(), null)).job.id);
    assert.deepEqual([...order].sort(), order);
    const lists = await Promise.all(queues.map(async (queue) => (await queue.list()).map(({ id }) => id)));
    assert.deepEqual(lists[0].slice(0, 6), [...order].reverse());
    assert.deepEqual(lists, [lists[0], lists[0], lists[0]]);
  });

  it('share locks, which one holds at a time and another one may not let go', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [one, other] = await Promise.all([replicas.serving(), replicas.serving()]);
    const tries = await Promise.all([one, other, one, other].map((queue) => queue.locks.take('dataset:pets')));
    const [held, ...none] = tries.sort((a, b) => Number(a === null) - Number(b === null));
    assert.deepEqual(none, [null, null, null]);
    assert.notEqual(await other.locks.take('dataset:others'), null);
    await held?.();
    const next = await other.locks.take('dataset:pets');
    await held?.();
    assert.equal(await one.locks.take('dataset:pets'), null);
    await next?.();
    assert.notEqual(await one.locks.take('dataset:pets'), null);
  });

  it('hand the job of a trainer that closes to another one at once, without a death', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, first] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const { job } = await queue.submit(request({ endless: 1, stepMs: 10 }), null);
    await stepped(replicas);
    assert.equal(await first.close(), 0);
    const left = await queue.get(job.id);
    assert.deepEqual([left.state, left.attempts, left.backend], ['queued', 1, null]);
    await replicas.trainer();
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts], ['succeeded', 2]);
  });

  it('publish once though a trainer that was out of touch wakes up and publishes too', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue, first] = await Promise.all([replicas.serving(), replicas.trainer('store')]);
    const { job } = await queue.submit(request({ steps: 15, stepMs: 20, deaf: true }), null);
    await stepped(replicas);
    first.pause();
    await replicas.trainer('store');
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts, done.result?.version], ['succeeded', 2, 1]);
    first.resume();
    const firstEnd = `end-1 ${job.id} 1`;
    await until('the first has published too', () => runs(replicas.dataDir).includes(firstEnd));
    const { dataDir } = replicas;
    const [entry] = await new ModelStore({ modelsDir: `${dataDir}/shipped`, dataDir }).models();
    assert.deepEqual(entry.versions, [{ version: 1, digest: done.result?.digest }]);
    await sleep(100);
    assert.deepEqual(await queue.get(job.id), done, 'nothing of the record has changed');
  });

  it('lose nothing when two trainers publish at the same time', async (t) => {
    const replicas = await Replicas.over(t, await sharedRedis());
    const [queue] = await Promise.all([replicas.serving(), replicas.trainer('store'), replicas.trainer('store')]);
    const ids: string[] = [];
    for (let i = 0; i < 2; i++) ids.push((await queue.submit(request({ together: 2 }), null)).job.id);
    const jobs = await Promise.all(ids.map((id) => ended(queue, id)));
    const { dataDir } = replicas;
    const store = new ModelStore({ modelsDir: `${dataDir}/shipped`, dataDir });
    assert.deepEqual(jobs.map(({ result }) => result?.version).sort(), [1, 2]);
    for (const { id, result } of jobs) {
      const version = await store.get('net', result?.version ?? 0);
      assert.deepEqual([version.digest, version.manifest.training?.job], [result?.digest, id]);
    }
  });
});

it('tests of Redis fail where it is missing in CI, and are skipped with a word elsewhere', {
  skip: !skip,
}, async () => {
  await assert.rejects(RedisServer.start(), /redis-server: not found/);
});
