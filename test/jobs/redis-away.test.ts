/** A Redis that goes away, hangs, forgets, or is not the one that was meant. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobQueue } from '../../src/jobs/job.js';
import { RedisServer, withoutRedis } from '../support/redis-server.js';
import { FakeStore } from './fake-store.js';
import {
  closeWith,
  ended,
  eventsOf,
  keepingLogger,
  options,
  request,
  runs,
  temporaryFolder,
  until,
} from './fixtures.js';
import { continuous, LONG, Replicas, states, stepped } from './replicas.js';

describe('a Redis that goes away', { skip: withoutRedis, concurrency: 2 }, () => {
  const down = (queue: JobQueue) => until('it is known to be away', () => queue.redis === 'down');
  const up = (queue: JobQueue) => until('it is known to be back', () => queue.redis === 'up');

  it('costs no job, no event and no attempt: trainings go on meanwhile', async (t) => {
    const replicas = await Replicas.over(t);
    const [queue] = await Promise.all([replicas.serving(), replicas.trainer(), replicas.trainer()]);
    const { redis } = replicas;
    const { job } = await queue.submit(request({ steps: 450, stepMs: 10 }), null);
    const following = eventsOf(queue, job.id);
    await stepped(replicas);
    await redis.kill();
    await down(queue);
    const unavailable = { code: 'queue_unavailable' };
    await assert.rejects(queue.get(job.id), unavailable);
    await assert.rejects(queue.list(), unavailable);
    await assert.rejects(queue.cancel(job.id), unavailable);
    await assert.rejects(queue.counts(), unavailable);
    await assert.rejects(queue.submit(request(), 'key'), (error: { code: string; extra: Record<string, unknown> }) => {
      return error.code === 'queue_unavailable' && Number(error.extra.retry_after_s) >= 1;
    });
    // Longer than the lock lasts.
    await sleep(2000);
    await redis.run();
    await up(queue);
    const next = await queue.submit(request(), 'key');
    assert.equal(next.created, true, 'the key is not used up');
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts], ['succeeded', 1]);
    const events = await following;
    continuous(events);
    assert.deepEqual(states(events), ['queued 0', 'running 1', 'succeeded 1']);
    assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    assert.equal(runs(replicas.dataDir).filter((l) => l.startsWith('begin')).length, 2);
  });

  it('keeps what it accepted, also when it is killed in the next moment', async (t) => {
    const replicas = await Replicas.over(t);
    const queue = await replicas.serving();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await queue.submit(request(), `key-${i}`)).job.id);
    await replicas.redis.kill();
    await down(queue);
    await replicas.redis.run();
    await replicas.trainer();
    await up(queue);
    for (const id of ids) assert.equal((await ended(queue, id)).state, 'succeeded');
    assert.equal((await queue.submit(request(), 'key-0')).created, false);
  });

  it('that forgets everything costs the jobs it held and nothing after them', async (t) => {
    const replicas = await Replicas.over(t);
    const [queue] = await Promise.all([replicas.serving(), replicas.trainer()]);
    const { job } = await queue.submit(request(LONG), 'key');
    const following = eventsOf(queue, job.id);
    await stepped(replicas);
    const { redis } = replicas.client();
    await redis.flushall();
    await following;
    await assert.rejects(queue.get(job.id), { code: 'job_not_found' });
    const next = await queue.submit(request(), 'key');
    assert.equal(next.created, true);
    // The trainer has left the one that nobody knows any more, and published nothing of it.
    assert.equal((await ended(queue, next.job.id)).state, 'succeeded');
    assert.deepEqual(new FakeStore(replicas.dataDir).jobs('net'), [next.job.id]);
    assert.deepEqual(await queue.counts(), { queued: 0, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
  });

  it('or takes no wrong password is said in the log, without the password', async (t) => {
    const redis = await RedisServer.start({ password: 'rosebud' });
    t.after(() => redis.stop());
    const { RedisQueue } = await import('../../src/jobs/redis/queue.js');
    const open = async (url: string) => {
      const logger = keepingLogger();
      const queue = await RedisQueue.open({ ...options(temporaryFolder(t), { logger }), url, trains: false });
      closeWith(t, queue);
      return { queue, logger };
    };
    const right = await open(redis.url);
    assert.deepEqual(await right.queue.list(), []);
    const wrong = await open(redis.url.replace('rosebud', 'sesame'));
    await assert.rejects(wrong.queue.list(), { code: 'queue_unavailable' });
    assert.ok(wrong.logger.lines.some((l) => l.level === 'error' && /WRONGPASS/.test(String(l.fields.reason))));
    for (const { lines } of [right.logger, wrong.logger]) assert.doesNotMatch(JSON.stringify(lines), /rosebud|sesame/);
  });

  it('may lose jobs as it is set up: that is said when it is first met', async (t) => {
    const replicas = await Replicas.over(t);
    const { redis } = replicas.client();
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await redis.config('SET', 'appendonly', 'no');
    const { RedisQueue } = await import('../../src/jobs/redis/queue.js');
    const logger = keepingLogger();
    const { url } = replicas.redis;
    closeWith(t, await RedisQueue.open({ ...options(replicas.dataDir, { logger }), url, trains: false }));
    const said = logger.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
    assert.deepEqual(
      said.map((message) => /"(.*?)"/.exec(message)?.[1]),
      ['appendonly yes', 'maxmemory-policy noeviction'],
    );
  });

  it('or is none, or has no such database, is said in the log too, and nothing is kept elsewhere', async (t) => {
    const redis = await RedisServer.start({ password: 'rosebud' });
    // As a server of TLS does with what is no greeting of TLS.
    const mute = createServer((socket) => socket.on('error', () => undefined).end()).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    t.after(() => Promise.all([redis.stop(), mute.close()]));
    const { RedisQueue } = await import('../../src/jobs/redis/queue.js');
    const cases: [url: string, reason: RegExp][] = [
      [redis.url.replace('redis:', 'rediss:'), /no answer.*rediss:/],
      [`redis://:rosebud@127.0.0.1:${(mute.address() as AddressInfo).port}`, /no answer|ECONNRESET|EPIPE/],
      [redis.url.replace(/0$/, '99'), /DB index/],
    ];
    for (const [url, reason] of cases) {
      const logger = keepingLogger();
      const queue = await RedisQueue.open({ ...options(temporaryFolder(t), { logger }), url, trains: false });
      closeWith(t, queue);
      assert.equal(queue.redis, 'down', url);
      await assert.rejects(queue.submit(request(), null), { code: 'queue_unavailable' });
      const said = logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => String(fields.reason));
      assert.ok(
        said.some((r) => reason.test(r)),
        `${reason}: ${said}`,
      );
      assert.doesNotMatch(JSON.stringify(logger.lines), /rosebud/);
    }
  });

  it('is found out where it only hangs, and when a process starts without it', async (t) => {
    const replicas = await Replicas.over(t);
    const queue = await replicas.serving();
    replicas.redis.pause();
    await assert.rejects(queue.submit(request(), null), { code: 'queue_unavailable' });
    await down(queue);
    const late = await replicas.serving({ waits: false });
    await assert.rejects(late.list(), { code: 'queue_unavailable' });
    replicas.redis.resume();
    await Promise.all([up(queue), up(late)]);
    await replicas.trainer();
    const { job } = await late.submit(request(), null);
    assert.equal((await ended(queue, job.id)).state, 'succeeded');
  });
});
