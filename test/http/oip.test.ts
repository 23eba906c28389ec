/** What the Open Inference Protocol routes hand on, and what they answer; the wire itself is in oip-triton.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { assertAnswer } from './answers.js';
import { AUTHORIZATION, servingApp, testApp } from './app.js';
import { fakeInference } from './fakes.js';

const data = Array<number>(16).fill(0.5);
const message = (changes: object = {}) => ({
  inputs: [{ name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data }],
  ...changes,
});
const PATH = '/v2/models/tiny/infer';
const DOCUMENTED = '/v2/models/{model}/infer';

test('the dial and the timeout reach serving', async (t) => {
  const { http, service } = await testApp(t);
  const parameters = { bits: 4, activation_bits: 8, timeout: 2500, priority: 1, sequence_id: 0 };
  await http.post(PATH).send(message({ parameters })).expect(200);
  const budget = { max_energy_uj: 2, max_memory_kib: 30, max_latency_ms: 5, min_accuracy: 0.9, timeout: 0 };
  await http
    .post('/v2/models/tiny/versions/2/infer')
    .send(message({ parameters: budget }))
    .expect(200);
  await http.post(`${PATH}?bits=2`).send(message()).expect(200);
  const [named, within, query] = service.requests;
  assert.deepEqual(named.choice, { bits: 4, activationBits: 8, budget: undefined });
  assert.deepEqual([named.model, named.version, named.deadlineMs], ['tiny', undefined, 2.5]);
  assert.deepEqual(within.choice.budget, { maxEnergyUj: 2, maxMemoryKib: 30, maxLatencyMs: 5, minAccuracy: 0.9 });
  assert.deepEqual([within.version, within.deadlineMs], [2, undefined]);
  assert.equal(query.choice.bits, 2);
  assert.deepEqual(named.body, { kind: 'tensor', shape: [1, 4, 4, 1], dtype: 'float32', data: { values: data } });
});

test('what ran comes back in the parameters, and the id', async (t) => {
  const { http, service, app } = await testApp(t);
  const plain = await http
    .post(PATH)
    .send(message({ id: 'a b' }))
    .expect(200);
  assertAnswer(app, plain, 'post', DOCUMENTED);
  assert.equal(plain.body.id, 'a b');
  const { digest, ...parameters } = plain.body.parameters;
  assert.equal(digest, 'd'.repeat(64));
  assert.deepEqual(parameters, {
    bits: 4,
    activation_bits: 8,
    energy_uj: 2,
    memory_bytes: 100,
    engine: 'fake',
    cached: false,
    build_ms: 1,
    queue_ms: 0,
    compute_ms: 0.5,
  });
  service.inference = async () => ({
    ...fakeInference(),
    cost: { energyUj: 2, memoryBytes: 1, expectedAccuracy: 0.9 },
  });
  const { body } = await http.post(PATH).send(message()).expect(200);
  assert.equal(body.parameters.expected_accuracy, 0.9);
  assert.equal('id' in body, false);
  assert.deepEqual(
    body.outputs.map((o: { name: string }) => o.name),
    ['probabilities', 'logits', 'label'],
  );
});

test('binary_data of an output goes before binary_data_output', async (t) => {
  const { http } = await testApp(t);
  const outputs = [{ name: 'label' }, { name: 'logits', parameters: { binary_data: false } }];
  const response = await http
    .post(PATH)
    .buffer()
    .parse((r, done) => {
      const chunks: Buffer[] = [];
      r.on('data', (chunk: Buffer) => chunks.push(chunk));
      r.on('end', () => done(null, Buffer.concat(chunks)));
    })
    .send(message({ parameters: { binary_data_output: true }, outputs }))
    .expect(200);
  const length = Number(response.headers['inference-header-content-length']);
  const answer = JSON.parse(response.body.subarray(0, length).toString());
  assert.deepEqual(answer.outputs, [
    { name: 'label', datatype: 'BYTES', shape: [1], parameters: { binary_data_size: 7 } },
    { name: 'logits', datatype: 'FP32', shape: [1, 3], data: [0, -1, -2] },
  ]);
  assert.deepEqual([...response.body.subarray(length)], [3, 0, 0, 0, ...Buffer.from('top')]);
});

test('a raw body: floats, pixels or an image file, and a binary answer', async (t) => {
  const { app, service } = await testApp(t);
  const headers = { 'inference-header-content-length': '0' };
  const payload = Buffer.alloc(64, 1);
  const send = (query: string, more = {}) =>
    app.inject({ method: 'POST', url: `${PATH}${query}`, headers: { ...headers, ...more }, payload });
  const answer = await send('?bits=4&timeout=1000');
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.headers['content-type'], 'application/octet-stream');
  assert.ok(Number(answer.headers['inference-header-content-length']) > 100);
  await send('?datatype=UINT8');
  await send('', { 'content-type': 'image/png' });
  await send('?datatype=BYTES');
  const bodies = service.requests.map(({ body }) => [body.kind, 'dtype' in body ? body.dtype : null]);
  assert.deepEqual(bodies, [
    ['raw', 'float32'],
    ['raw', 'uint8'],
    ['image', null],
    ['image', null],
  ]);
  assert.deepEqual([service.requests[0].choice.bits, service.requests[0].deadlineMs], [4, 1]);
});

test('compression follows the weights of Accept-Encoding', async (t) => {
  const { app } = await testApp(t);
  const ask = async (encoding: string) => {
    const headers = { 'accept-encoding': encoding, 'content-type': 'application/json' };
    const response = await app.inject({ method: 'POST', url: PATH, headers, payload: JSON.stringify(message()) });
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers.vary, 'accept-encoding');
    return response;
  };
  for (const [encoding, expected] of [
    ['gzip', 'gzip'],
    ['gzip, deflate', 'gzip'],
    ['gzip;q=0.5, deflate', 'deflate'],
    ['GZIP ; q=1', 'gzip'],
    ['identity, gzip', undefined],
    ['gzip;q=0', undefined],
    ['br, *', undefined],
    ['', undefined],
    ['gzip;q=x', undefined],
  ] as const) {
    assert.equal((await ask(encoding)).headers['content-encoding'], expected, encoding);
  }
  const { rawPayload } = await ask('gzip');
  assert.equal(JSON.parse(gunzipSync(rawPayload).toString()).model_name, 'tiny');
});

test('answers are as they are documented', async (t) => {
  const { app, http, readiness } = await servingApp(t);
  readiness.ready();
  await http.post(PATH).send(message()).expect(200);
  for (const [path, documented] of [
    ['/v2', '/v2'],
    ['/v2/health/live', '/v2/health/live'],
    ['/v2/health/ready', '/v2/health/ready'],
    ['/v2/models/stats', '/v2/models/stats'],
    ...['', '/ready', '/config', '/stats'].flatMap((end) => [
      [`/v2/models/tiny${end}`, `/v2/models/{model}${end}`],
      [`/v2/models/tiny/versions/2${end}`, `/v2/models/{model}/versions/{version}${end}`],
    ]),
  ]) {
    assertAnswer(app, await http.get(path).expect(200), 'get', documented);
  }
  assertAnswer(app, await http.post('/v2/repository/index').expect(200), 'post', '/v2/repository/index');
  const refused = await http
    .post(PATH)
    .send(message({ inputs: [] }))
    .expect(400);
  assertAnswer(app, refused, 'post', DOCUMENTED);
});

test('metadata: every version, tensors of the one that is asked, its default precision', async (t) => {
  const { http } = await testApp(t, { config: { defaultBits: '4' } });
  const { body } = await http.get('/v2/models/tiny/versions/2').expect(200);
  assert.deepEqual(body.versions, ['1', '2']);
  assert.deepEqual(body.parameters, { version: '2', digest: 'e'.repeat(64), bits: 4, activation_bits: 4 });
  assert.deepEqual(body.inputs[0].shape, [-1, 4, 4, 1]);
});

test('unload: 503 and UNAVAILABLE here until load; load makes the default variant resident', async (t) => {
  const { http, service } = await servingApp(t);
  const control = (action: string) =>
    http.post(`/v2/repository/models/tiny/${action}`).set('authorization', AUTHORIZATION).expect(200);
  await http.post(PATH).send(message()).expect(200);
  assert.equal(service.variants('tiny').length, 1);
  await control('unload');
  assert.equal(service.variants('tiny').length, 0);
  const refused = await http.post(PATH).send(message()).expect(503);
  assert.match(refused.body.error, /"tiny" was unloaded here/);
  await http.get('/v2/models/tiny/ready').expect(503);
  await http.get('/v2/models/tiny').expect(200);
  const index = (body?: object) => http.post('/v2/repository/index').send(body).expect(200);
  assert.deepEqual((await index()).body[0], { name: 'tiny', version: '1', state: 'UNAVAILABLE', reason: 'unloaded' });
  assert.deepEqual((await index({ ready: true })).body, []);
  await control('load');
  assert.equal(service.variants('tiny').length, 1);
  assert.equal((await http.post(PATH).send(message()).expect(200)).body.parameters.cached, true);
  assert.equal((await index({ ready: true })).body.length, 2);
});

test('a variant that was in use when its model was unloaded goes with its last request', async (t) => {
  const { http, service } = await testApp(t);
  const dropped: string[] = [];
  service.dropVariants = async (model) => {
    dropped.push(model);
    return { dropped: 0, bytes: 0 };
  };
  let finish = () => {};
  const begun = new Promise<void>((begin) => {
    service.inference = async () => {
      begin();
      await new Promise<void>((resolve) => (finish = resolve));
      return fakeInference();
    };
  });
  const answer = http.post(PATH).send(message()).expect(200);
  const done = answer.then(() => undefined);
  await begun;
  await http.post('/v2/repository/models/tiny/unload').set('authorization', AUTHORIZATION).expect(200);
  assert.equal(dropped.length, 1);
  finish();
  await done;
  assert.equal(dropped.length, 2);
});

test('statistics count what ran, whatever the protocol, and what failed', async (t) => {
  const { http } = await servingApp(t);
  const before = Date.now();
  const two = { name: 'input', shape: [2, 4, 4, 1], datatype: 'FP32', data: [...data, ...data] };
  await http.post(PATH).send(message()).expect(200);
  await http
    .post(PATH)
    .send(message({ inputs: [two] }))
    .expect(200);
  await http
    .post('/predict')
    .send({ instances: [data] })
    .expect(200);
  await http
    .post('/v1/models/tiny:predict')
    .send({ instances: [data] })
    .expect(200);
  await http
    .post('/v1/models/tiny:classify')
    .send({ examples: [{ input: data }] })
    .expect(200);
  const wrong = { ...two, shape: [2, 4, 2, 2] };
  await http
    .post(PATH)
    .send(message({ inputs: [wrong] }))
    .expect(400);
  await http.post('/v2/models/none/infer').send(message()).expect(404);
  const { body } = await http.get('/v2/models/tiny/stats').expect(200);
  const [first, second] = body.model_stats;
  assert.deepEqual([first.version, first.inference_count, first.execution_count], ['1', 6, 5]);
  assert.ok(first.last_inference >= before && first.last_inference <= Date.now());
  const { inference_stats: stats, batch_stats: batches } = first;
  for (const kind of ['success', 'compute_input', 'compute_infer', 'compute_output']) {
    assert.equal(stats[kind].count, 5, kind);
    assert.ok(Number.isInteger(stats[kind].ns) && stats[kind].ns > 0, `${kind}: ${stats[kind].ns}`);
  }
  assert.ok(stats.success.ns >= stats.compute_input.ns);
  // the engine of the test says that each run took 0.1 ms
  assert.equal(stats.compute_infer.ns, 500_000);
  assert.deepEqual([stats.queue.count, stats.fail.count], [5, 1]);
  assert.deepEqual(
    [stats.cache_hit, stats.cache_miss],
    [
      { count: 0, ns: 0 },
      { count: 0, ns: 0 },
    ],
  );
  assert.deepEqual(
    batches.map((b: Record<string, { count: number }>) => [
      b.batch_size,
      b.compute_infer.count,
      b.compute_output.count,
    ]),
    [
      [1, 4, 4],
      [2, 1, 1],
    ],
  );
  assert.ok(first.memory_usage[0].byte_size > 0);
  assert.equal(second.inference_count, 0);
  const one = await http.get('/v2/models/tiny/versions/2/stats').expect(200);
  assert.deepEqual(one.body.model_stats, [second]);
  assert.equal((await http.get('/v2/models/stats').expect(200)).body.model_stats.length, 2);
});
