/** Two replicas and a trainer as processes of their own, over one Redis and one folder. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import supertest from 'supertest';
import { ModelStore } from '../../src/model/store.js';
import { until } from '../jobs/fixtures.js';
import { RedisServer, withoutRedis } from '../support/redis-server.js';
import { assertProblem } from './answers.js';
import { ServiceProcess } from './service-process.js';
import { PIXELS, tinyNewVersion } from './tiny.js';

const authorization = 'Bearer mine';
const pixels = { instances: [Array(PIXELS).fill(0.5)] };

test('replicas serve, a trainer trains, and Redis may go', { skip: withoutRedis }, async (t) => {
  const redis = await RedisServer.start();
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-replicas-'));
  t.after(async () => {
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const [modelsDir, dataDir] = [join(folder, 'models'), join(folder, 'data')];
  const shipped = new ModelStore({ modelsDir, writeTo: 'models' });
  await shipped.publish(tinyNewVersion('mnist-lenet'), { makeCurrent: true });
  const shared = { MODELS_DIR: modelsDir, DATA_DIR: dataDir, REDIS_URL: redis.url, ADMIN_TOKEN: 'mine' };
  const start = (role: string) => ServiceProcess.start(t, { ...shared, ROLE: role });
  const services = await Promise.all([start('serve'), start('serve'), start('train')]);
  const [first, second, trainer] = services;
  const [a, b] = [supertest(await first.ready()), supertest(await second.ready())];
  const [, trainerUrl] = await trainer.said(/its health is on (\S+)\/health\/ready/);
  const c = supertest(trainerUrl);

  await t.test('each says what it is', async () => {
    await until('the trainer is ready', async () => (await c.get('/health/ready')).status === 200);
    const ready = await c.get('/health/ready').expect(200);
    assert.deepEqual(ready.body, { status: 'ready', role: 'train', training_backend: 'not loaded', redis: 'up' });
    await c.get('/health/live').expect(200);
    assert.match((await c.get('/metrics')).text, /^bitdial_redis_up 1$/m);
    assertProblem(await c.post('/predict').send(pixels), 'route_not_found');
    const { body } = await a.get('/health/ready').expect(200);
    assert.deepEqual([body.role, body.redis, body.default_model], ['serve', 'up', 'mnist-lenet']);
  });

  const train = { model: 'mnist-lenet', epochs: 1000, limit: 64, publish: false };
  const submit = (http: typeof a) =>
    http.post('/admin/train').set({ authorization, 'idempotency-key': 'one' }).send(train);
  const jobs = (http: typeof a) => http.get('/admin/jobs').set({ authorization });

  await t.test('a job is the same through either, and goes back to the queue when its trainer stops', async () => {
    const { headers } = await submit(a).expect(202);
    const again = await submit(b).expect(202);
    assert.deepEqual([again.headers.location, again.headers['idempotency-replayed']], [headers.location, 'true']);
    const job = async (http: typeof a) =>
      (await http.get(headers.location).set({ authorization }).expect(200)).body.job;
    await until('it runs', async () => (await job(b)).progress.step > 0);
    trainer.child.kill('SIGTERM');
    assert.deepEqual(await trainer.exit, [0, null]);
    const left = await job(a);
    assert.deepEqual([left.state, left.attempts], ['queued', 1]);
    const following = b.get(`${headers.location}/events`).set({ authorization, 'last-event-id': '1' }).expect(200);
    const [events] = await Promise.all([following, a.delete(headers.location).set({ authorization }).expect(202)]);
    assert.match(events.text, /^id: 2\nevent: state\ndata: .*"running"/m);
    assert.match(events.text, /"state":"cancelled"/);
    assert.equal((await job(b)).state, 'cancelled');
  });

  await t.test('what is published is served by each', async () => {
    const store = new ModelStore({ modelsDir, dataDir });
    const began = performance.now();
    const { manifest, ...rest } = tinyNewVersion('mnist-lenet');
    const next = { manifest: { ...manifest, labels: ['new', 'newer', 'newest'] }, ...rest };
    const { version } = await store.publish(next, { makeCurrent: true });
    assert.equal(version, 2);
    for (const http of [a, b]) {
      await until('it is served', async () => {
        const { body } = await http.post('/predict?bits=4').send(pixels).expect(200);
        return body.version === version;
      });
    }
    t.diagnostic(`served by both ${Math.round(performance.now() - began)} ms after the publication began`);
  });

  await t.test('without Redis predictions go on and jobs wait', async () => {
    await redis.kill();
    const ready = (http: typeof a) => http.get('/health/ready').expect(200);
    await until(
      'they know',
      async () => (await ready(a)).body.redis === 'down' && (await ready(b)).body.redis === 'down',
    );
    await a.post('/predict?bits=4').send(pixels).expect(200);
    const refused = [await jobs(a), await submit(b), await a.delete('/admin/jobs/x').set({ authorization })];
    for (const answer of refused) {
      assertProblem(answer, 'queue_unavailable');
      assert.match(answer.headers['retry-after'], /^[1-9]\d*$/);
    }
    const { text } = await a.get('/metrics').expect(200);
    assert.match(text, /^bitdial_redis_up 0$/m);
    assert.doesNotMatch(text, /^bitdial_jobs\{/m);
    await redis.run();
    await until('it is back', async () => (await jobs(a)).status === 200);
    assert.equal((await jobs(a)).body.jobs.length, 1);
    await until('it is back for both', async () => (await submit(b)).headers['idempotency-replayed'] === 'true');
  });

  await t.test('each stops when it is told to', async () => {
    for (const service of [first, second]) service.child.kill('SIGTERM');
    for (const service of [first, second]) assert.deepEqual(await service.exit, [0, null]);
    for (const { stdout } of services) for (const line of stdout.trim().split('\n')) JSON.parse(line);
  });
});
