import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { ServiceError } from '../../src/errors.js';
import { assertAnswer, assertProblem } from './answers.js';
import { servingApp, testApp } from './app.js';
import { LABELS, PIXELS } from './tiny.js';

const JSON_TYPE = 'application/json';
const RAW = 'application/octet-stream';
const top = Array.from({ length: PIXELS }, (_, i) => (i < 4 ? 1 : 0));
const bottom = [...top].reverse();

test('every kind of body gives the same prediction', async (t) => {
  const { http, app } = await servingApp(t);
  const pixels = Buffer.from(bottom.map((x) => x * 255));
  const image = sharp(pixels, { raw: { width: 4, height: 4, channels: 1 } });
  const [png, webp] = [await image.clone().png().toBuffer(), await image.clone().webp({ lossless: true }).toBuffer()];
  const nested = [0, 1, 2, 3].map((y) => [0, 1, 2, 3].map((x) => [bottom[4 * y + x]]));
  const json = (instance: unknown) => JSON.stringify({ instances: [instance] });
  const bodies: [string, string, string | Buffer][] = [
    ['', JSON_TYPE, json(bottom)],
    ['', `${JSON_TYPE}; charset=utf-8`, json(nested)],
    ['', JSON_TYPE, json({ b64: png.toString('base64') })],
    ['', 'image/png', png],
    ['', 'image/webp', webp],
    ['', RAW, pixels],
    ['&dtype=uint8', RAW, pixels],
    ['&dtype=float32', RAW, Buffer.from(Float32Array.from(bottom).buffer)],
  ];
  const predictions = [];
  for (const [query, type, body] of bodies) {
    const response = await http.post(`/predict?bits=8${query}`).set('content-type', type).send(body).expect(200);
    assertAnswer(app, response, 'post', '/predict');
    assert.equal(response.body.predictions.length, 1);
    assert.equal(response.body.predictions[0].label, 'bottom', type);
    assert.equal(response.body.bits, 8);
    assert.equal(response.body.activation_bits, 8);
    assert.equal(response.body.cost.expected_accuracy, 0.9);
    predictions.push(response.body.predictions);
  }
  for (const other of predictions) assert.deepEqual(other, predictions[0]);
});

test('a batch answers in order, with as many labels as asked for', async (t) => {
  const { http, app } = await servingApp(t);
  const send = (query: string) => http.post(`/predict${query}`).send({ instances: [bottom, top, bottom] });
  const response = await send('?top_k=2').expect(200);
  assertAnswer(app, response, 'post', '/predict');
  assert.deepEqual(
    response.body.predictions.map((p: { label: string }) => p.label),
    ['bottom', 'top', 'bottom'],
  );
  for (const { top: ranked } of response.body.predictions) assert.equal(ranked.length, 2);
  const { body } = await send('').expect(200);
  assert.equal(body.predictions[0].top.length, LABELS.length, 'the default of 5 is cut to the classes there are');
});

test('the precision is the one named, the best within the budget, or the default', async (t) => {
  const { http } = await servingApp(t);
  const precision = async (query: string) => {
    const { body } = await http
      .post(`/predict${query}`)
      .send({ instances: [top] })
      .expect(200);
    return `${body.bits}x${body.activation_bits}`;
  };
  assert.equal(await precision(''), '8x8');
  assert.equal(await precision('?bits=3'), '3x3');
  assert.equal(await precision('?bits=3&activation_bits=16'), '3x16');
  assert.equal(await precision('?activation_bits=4'), '8x4');
  assert.equal(await precision('?min_accuracy=0.85'), '8x8');
  assert.equal(await precision('?max_memory_kib=1000'), '8x8');
  assert.equal(await precision('?max_latency_ms=100000&min_accuracy=0'), '8x8');
});

test('what a query says reaches the service in its own words', async (t) => {
  const { http, service } = await testApp(t);
  const query =
    'model=other&version=3&top_k=4&max_energy_uj=2.5&max_memory_kib=40&max_latency_ms=1e1&min_accuracy=0.9&timeout_ms=250';
  await http.post(`/predict?${query}`).set('content-type', 'image/tiff').send(Buffer.from('II*')).expect(200);
  await http
    .post('/predict?bits=4&activation_bits=8')
    .send({ instances: [[1]] })
    .expect(200);
  await http.post('/predict?dtype=float32').set('content-type', RAW).send(Buffer.alloc(8)).expect(200);
  const requests = service.requests.map(({ signal, steps, ...rest }) => {
    assert.ok(signal && !signal.aborted);
    assert.equal(steps, undefined, 'nobody traces');
    return rest;
  });
  assert.deepEqual(requests, [
    {
      model: 'other',
      version: 3,
      label: undefined,
      choice: {
        bits: undefined,
        activationBits: undefined,
        budget: { maxEnergyUj: 2.5, maxMemoryKib: 40, maxLatencyMs: 10, minAccuracy: 0.9 },
      },
      topK: 4,
      deadlineMs: 250,
      body: { kind: 'image', bytes: Buffer.from('II*') },
    },
    {
      model: undefined,
      version: undefined,
      label: undefined,
      choice: { bits: 4, activationBits: 8, budget: undefined },
      topK: undefined,
      deadlineMs: undefined,
      body: { kind: 'instances', instances: [[1]] },
    },
    {
      model: undefined,
      version: undefined,
      label: undefined,
      choice: { bits: undefined, activationBits: undefined, budget: undefined },
      topK: undefined,
      deadlineMs: undefined,
      body: { kind: 'raw', dtype: 'float32', bytes: Buffer.alloc(8) },
    },
  ]);
});

test('a wrong query is refused before the body is looked at', async (t) => {
  const { http } = await testApp(t);
  const both = http.post('/predict?bits=9').set('content-type', JSON_TYPE).send('{');
  assertProblem(await both, 'invalid_field');
});

test('overload says when to come back, and what is unexpected says nothing', async (t) => {
  const { http, service } = await testApp(t);
  const send = () => http.post('/predict').send({ instances: [[1]] });
  service.answer = async () => {
    throw new ServiceError('overloaded', 'expected at most 256 predictions, got more', { retry_after_s: 1.2 });
  };
  const busy = await send();
  assertProblem(busy, 'overloaded');
  assert.equal(busy.headers['retry-after'], '2');

  service.answer = async () => {
    throw new TypeError('a secret of the inside');
  };
  const broken = await send();
  assertProblem(broken, 'internal');
  assert.ok(!broken.text.includes('secret'));

  service.answer = async () => {
    throw 'not even an error';
  };
  assertProblem(await send(), 'internal');
});

test('a problem keeps its own members where an error brings others of the same name', async (t) => {
  const { http, service } = await testApp(t);
  service.answer = async () => {
    throw new ServiceError('budget_infeasible', 'none', { status: 200, code: 'fine', cheapest: { bits: 2 } });
  };
  const problem = assertProblem(await http.post('/predict').send({ instances: [[1]] }), 'budget_infeasible');
  assert.deepEqual(problem.cheapest, { bits: 2 });
});
