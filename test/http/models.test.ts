import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAnswer, assertProblem } from './answers.js';
import { AUTHORIZATION, servingApp, testApp } from './app.js';
import { PIXELS } from './tiny.js';

test('the models, one model, one version', async (t) => {
  const { http, app, store } = await testApp(t);
  const list = await http.get('/models').expect(200);
  assertAnswer(app, list, 'get', '/models');
  assert.equal(list.body.default, 'tiny');
  assert.deepEqual(
    list.body.models[0].versions.map((v: { version: number }) => v.version),
    [1, 2],
  );

  const one = await http.get('/models/tiny').expect(200);
  assertAnswer(app, one, 'get', '/models/{model}');
  assert.equal(one.body.version, 1);
  assert.deepEqual(one.body.manifest, store.versions[0].manifest);
  assert.deepEqual(
    one.body.precisions.map((p: { bits: number; activation_bits: number }) => `${p.bits}x${p.activation_bits}`),
    ['8x8', '4x4', '2x8'],
  );
  const chosen = one.body.precisions.map((p: Record<string, unknown>) => [
    p.clip_rule,
    p.range_factor,
    p.bias_correction,
  ]);
  assert.deepEqual(chosen, [
    ['squared-error', 1, false],
    ['p-2.4', 0.8, true],
    ['squared-error', 1, false],
  ]);
  const second = await http.get('/models/tiny?version=2').expect(200);
  assert.equal(second.body.digest, 'e'.repeat(64));
  assert.equal(second.body.current, 1);
});

test('resident variants are listed, counted and dropped', async (t) => {
  const { http, app } = await servingApp(t);
  const none = await http.get('/models/tiny/variants').expect(200);
  assert.deepEqual(none.body, { variants: [] });
  const send = (bits: number) =>
    http
      .post(`/predict?bits=${bits}`)
      .send({ instances: [Array(PIXELS).fill(0)] })
      .expect(200);
  assert.equal((await send(4)).body.variant.cached, false);
  assert.equal((await send(4)).body.variant.cached, true);
  await send(2);
  const two = await http.get('/models/tiny/variants').expect(200);
  assertAnswer(app, two, 'get', '/models/{model}/variants');
  assert.deepEqual(two.body.variants.map((v: { bits: number }) => v.bits).sort(), [2, 4]);

  const dropped = await http.delete('/admin/models/tiny/variants').set('authorization', AUTHORIZATION).expect(200);
  assertAnswer(app, dropped, 'delete', '/admin/models/{model}/variants');
  assert.equal(dropped.body.dropped, 2);
  assert.ok(dropped.body.bytes > 0);
  assert.equal((await send(4)).body.variant.cached, false);
});

test('current moves back and forth', async (t) => {
  const { http, app, store } = await testApp(t);
  const move = (version: number) =>
    http.post('/admin/models/tiny/current').set('authorization', AUTHORIZATION).send({ version });
  const forth = await move(2).expect(200);
  assertAnswer(app, forth, 'post', '/admin/models/{model}/current');
  assert.deepEqual(forth.body, { model: 'tiny', version: 2, digest: 'e'.repeat(64) });
  assert.equal(store.current, 2);
  assert.equal((await http.get('/models/tiny').expect(200)).body.version, 2);
  await move(1).expect(200);
  assertProblem(await move(3), 'version_not_found');
  assert.equal(store.current, 1);
});

test('labels are set, seen, asked for and taken away', async (t) => {
  const { http, app } = await servingApp(t);
  const admin = (method: 'post' | 'delete', path: string) =>
    http[method](`/admin/models/tiny/labels${path}`).set('authorization', AUTHORIZATION);
  const predict = (query: string) => http.post(`/predict${query}`).send({ instances: [Array(PIXELS).fill(0)] });

  assert.equal((await predict('?label=stable').expect(200)).body.version, 1);
  assertProblem(await predict('?label=canary'), 'label_not_found');
  const set = await admin('post', '').send({ label: 'canary', version: 2 }).expect(200);
  assertAnswer(app, set, 'post', '/admin/models/{model}/labels');
  assert.deepEqual(set.body, { model: 'tiny', label: 'canary', version: 2, digest: 'e'.repeat(64) });
  assert.equal((await predict('?label=canary').expect(200)).body.version, 2);
  assert.equal((await predict('').expect(200)).body.version, 1);

  const one = await http.get('/models/tiny?label=canary').expect(200);
  assertAnswer(app, one, 'get', '/models/{model}');
  assert.deepEqual([one.body.version, one.body.labels], [2, { canary: 2, stable: 1 }]);
  const list = await http.get('/models').expect(200);
  assertAnswer(app, list, 'get', '/models');
  assert.deepEqual(list.body.models[0].labels, { canary: 2, stable: 1 });

  const removed = await admin('delete', '/canary').expect(204);
  assertAnswer(app, removed, 'delete', '/admin/models/{model}/labels/{label}');
  assertProblem(await admin('delete', '/canary'), 'label_not_found');
  assertProblem(await predict('?label=canary'), 'label_not_found');
});

test('a DELETE with a JSON content type and no body is fine', async (t) => {
  const { http } = await testApp(t);
  const path = '/admin/models/tiny/variants';
  await http.delete(path).set('authorization', AUTHORIZATION).set('content-type', 'application/json').expect(200);
});
