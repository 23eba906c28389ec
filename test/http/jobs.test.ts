import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_REGULARIZER } from '../../src/training/request.js';
import { assertAnswer, assertProblem } from './answers.js';
import { AUTHORIZATION, type TestApp, testApp } from './app.js';

function train(http: TestApp['http'], body: object, key?: string) {
  const request = http.post('/admin/train').set('authorization', AUTHORIZATION);
  return (key === undefined ? request : request.set('Idempotency-Key', key)).send(body);
}

test('a training is accepted with every default filled in, and found again', async (t) => {
  const { http, app, queue } = await testApp(t);
  const response = await train(http, { model: 'mine', epochs: 2, regularizer: { kind: 'none' } }).expect(202);
  assertAnswer(app, response, 'post', '/admin/train');
  const { job } = response.body;
  assert.equal(response.headers.location, `/admin/jobs/${job.id}`);
  assert.equal(job.state, 'queued');
  assert.equal(job.request.epochs, 2);
  assert.equal(job.request.dataset, 'mnist');
  assert.deepEqual(job.request.regularizer, NO_REGULARIZER);
  assert.ok(!('idempotencyKey' in job) && !('requestHash' in job));

  const one = await http.get(response.headers.location).set('authorization', AUTHORIZATION).expect(200);
  assertAnswer(app, one, 'get', '/admin/jobs/{id}');
  assert.deepEqual(one.body.job, job);
  await train(http, { model: 'mine' }).expect(202);
  queue.move(job.id, 'running');
  const all = await http.get('/admin/jobs').set('authorization', AUTHORIZATION).expect(200);
  assertAnswer(app, all, 'get', '/admin/jobs');
  assert.deepEqual(
    all.body.jobs.map((j: { state: string }) => j.state),
    ['queued', 'running'],
  );
});

test('an idempotency key gives one job', async (t) => {
  const { http, queue } = await testApp(t);
  const first = await train(http, { model: 'mine' }, 'key-1').expect(202);
  assert.equal(first.headers['idempotency-replayed'], undefined);
  const again = await train(http, { model: 'mine' }, 'key-1').expect(202);
  assert.equal(again.headers['idempotency-replayed'], 'true');
  assert.equal(again.body.job.id, first.body.job.id);
  assert.equal(again.headers.location, first.headers.location);
  assertProblem(await train(http, { model: 'other' }, 'key-1'), 'idempotency_key_reused');
  assertProblem(await train(http, { model: 'mine' }, 'k'.repeat(256)), 'invalid_field');
  assert.equal(queue.jobs.size, 1);
});

test('a cancel is recorded once', async (t) => {
  const { http, app } = await testApp(t);
  const { headers } = await train(http, { model: 'mine' }).expect(202);
  const cancel = () => http.delete(headers.location).set('authorization', AUTHORIZATION);
  const response = await cancel().expect(202);
  assertAnswer(app, response, 'delete', '/admin/jobs/{id}');
  assert.equal(response.body.job.state, 'cancelled');
  assertProblem(await cancel(), 'job_finished');
});

test('readiness names the backend of the last job that ran', async (t) => {
  const { http, app, queue, readiness } = await testApp(t);
  readiness.ready();
  assert.equal((await http.get('/health/ready').expect(200)).body.training_backend, 'not loaded');
  const { body } = await train(http, { model: 'mine' }).expect(202);
  queue.move(body.job.id, 'running');
  await train(http, { model: 'next' }).expect(202);
  const ready = await http.get('/health/ready').expect(200);
  assertAnswer(app, ready, 'get', '/health/ready');
  assert.equal(ready.body.training_backend, 'fake');
});
