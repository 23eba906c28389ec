import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_METRICS } from '../../src/http/plugins/default-metrics.js';
import { METRICS } from '../../src/http/plugins/metrics-table.js';
import { AUTHORIZATION, servingApp, testApp } from './app.js';
import { PIXELS } from './tiny.js';

/** Samples by name and labels. */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

test('predictions are counted by outcome, bits, instances and energy', async (t) => {
  const { http } = await servingApp(t, { config: { variantCacheBytes: 1_000_000 } });
  const instance = Array(PIXELS).fill(0);
  const send = (query: string, n = 1) => http.post(`/predict${query}`).send({ instances: Array(n).fill(instance) });
  let energy = 0;
  for (const n of [1, 3]) energy += (await send('?bits=4&activation_bits=8', n).expect(200)).body.cost.energy_uj;
  await send('?bits=9').expect(400);
  await send('?bits=4&version=9').expect(404);
  const response = await http.get('/metrics').expect(200);
  assert.match(response.headers['content-type'], /^text\/plain; version=0\.0\.4/);
  const found = samples(response.text);
  const labels = 'model="tiny",bits="4",activation_bits="8"';
  const predict = (status: number, code: string, bits: string) =>
    `bitdial_requests_total{method="POST",route="/predict",status="${status}",code="${code}",bits="${bits}"}`;
  const expected: [string, number][] = [
    [predict(200, 'ok', '4'), 2],
    [predict(400, 'invalid_field', ''), 1],
    [predict(404, 'version_not_found', '4'), 1],
    [`bitdial_instances_total{${labels}}`, 4],
    [`bitdial_variant_builds_total{${labels}}`, 1],
    ['bitdial_variant_build_seconds_count', 1],
    ['bitdial_variant_hits_total{model="tiny"}', 1],
    ['bitdial_compute_seconds_count{bits="4",activation_bits="8"}', 2],
    ['bitdial_queue_seconds_count', 2],
    ['bitdial_request_seconds_count{route="/predict",status="200"}', 2],
    ['bitdial_variants', 1],
    ['bitdial_variant_cache_limit_bytes', 1_000_000],
    ['bitdial_requests_in_flight', 1],
    ['bitdial_ready', 0],
  ];
  for (const [name, value] of expected) assert.equal(found.get(name), value, name);
  const joules = found.get(`bitdial_energy_joules_total{${labels}}`) ?? 0;
  assert.ok(Math.abs(joules * 1e6 - energy) < 1e-9 * energy, `${joules} J for ${energy} µJ`);
  const { body } = await http.get('/models/tiny/variants').expect(200);
  assert.equal(found.get('bitdial_variant_cache_bytes'), body.variants[0].memory_bytes);

  await http.delete('/admin/models/tiny/variants').set('authorization', AUTHORIZATION).expect(200);
  const later = samples((await http.get('/metrics').expect(200)).text);
  assert.equal(later.get('bitdial_variant_evictions_total{model="tiny",reason="dropped"}'), 1);
  assert.equal(later.get('bitdial_variant_cache_bytes'), 0);
});

test('the accuracy that is served is that of the precision table, over what has one', async (t) => {
  const { http } = await servingApp(t);
  const instance = Array(PIXELS).fill(0);
  await http
    .post('/predict?bits=4')
    .send({ instances: [instance, instance] })
    .expect(200);
  await http
    .post('/predict?bits=4&activation_bits=8')
    .send({ instances: [instance] })
    .expect(200);
  const found = samples((await http.get('/metrics').expect(200)).text);
  assert.equal(found.get('bitdial_evaluated_instances_total{model="tiny"}'), 2);
  assert.equal(found.get('bitdial_expected_correct_total{model="tiny"}'), 2 * 0.8);
});

test('jobs by state, readiness and the process are there', async (t) => {
  const { http, readiness } = await testApp(t);
  for (let i = 0; i < 2; i++) {
    await http.post('/admin/train').set('authorization', AUTHORIZATION).send({ model: 'mine' }).expect(202);
  }
  await http.delete('/admin/jobs/job-1').set('authorization', AUTHORIZATION).expect(202);
  readiness.ready();
  const { text } = await http.get('/metrics').expect(200);
  const found = samples(text);
  assert.equal(found.get('bitdial_jobs{state="queued"}'), 1);
  assert.equal(found.get('bitdial_jobs{state="cancelled"}'), 1);
  assert.equal(found.get('bitdial_jobs{state="running"}'), 0);
  assert.equal(found.get('bitdial_ready'), 1);
  assert.ok(found.has('nodejs_eventloop_lag_seconds') && found.has('process_resident_memory_bytes'));
  const announced = [...text.matchAll(/^# TYPE (bitdial_\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  assert.deepEqual(
    announced,
    Object.entries(METRICS).map(([name, { type }]) => [name, type]),
  );
});

test('the table of what Node and the process tell is whole', async (t) => {
  const { metrics } = await testApp(t);
  const found = (await metrics.snapshot()).filter(({ name }) => !name.startsWith('bitdial_'));
  const linuxOnly = process.platform === 'linux' ? [] : Object.keys(DEFAULT_METRICS);
  for (const { name, type, values } of found) {
    assert.equal(DEFAULT_METRICS[name]?.type, type, name);
    const known = [...DEFAULT_METRICS[name].labels, 'le'];
    for (const { labels } of values) for (const label of Object.keys(labels)) assert.ok(known.includes(label), name);
  }
  const names = [...found.map(({ name }) => name), ...linuxOnly];
  for (const name of Object.keys(DEFAULT_METRICS)) assert.ok(names.includes(name), `${name} is not collected`);
});

test('a client cannot make labels', async (t) => {
  const { http, metrics } = await testApp(t);
  for (let i = 0; i < 5; i++) {
    await http.get(`/nothing-${i}`);
    await http.get(`/models/m${i}`);
    await http.get(`/models/%E0%A4%A${i}`);
    await http.post(`/predict?model=m${i}&bits=99${i}`).send({});
    await http.propfind(`/x${i}`);
  }
  const text = await metrics.text();
  assert.deepEqual(text.match(/="[^"\n]*(nothing-|m\d|99\d|%E0|propfind)[^"]*"/gi), null);
  const found = samples(text);
  assert.equal(
    found.get('bitdial_requests_total{method="any",route="unmatched",status="404",code="route_not_found",bits=""}'),
    10,
  );
});

test('two apps count apart', async (t) => {
  const [one, two] = [await testApp(t), await testApp(t)];
  await one.http.get('/models').expect(200);
  assert.match(await one.metrics.text(), /route="\/models"/);
  assert.doesNotMatch(await two.metrics.text(), /route="\/models"/);
});
