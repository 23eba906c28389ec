import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import sharp from 'sharp';
import type { Response } from 'supertest';
import { PROJECT_ROOT } from '../../src/config.js';
import { ServiceError } from '../../src/errors.js';
import { assertAnswer } from './answers.js';
import { servingApp, testApp } from './app.js';
import { TF_LINES } from './bad-tfserving.js';
import { PIXELS } from './tiny.js';

interface Exchange {
  name: string;
  request: { method: 'GET' | 'POST'; path: string; body?: unknown };
  response: { status: number; headers?: Record<string, string>; body: unknown };
}
const WIRE = JSON.parse(readFileSync(join(PROJECT_ROOT, 'test/http/wire/tfserving.json'), 'utf8')) as Exchange[];
const top = Array.from({ length: PIXELS }, (_, i) => (i < 4 ? 1 : 0));

/** The path as the document has it. */
const documented = (path: string) =>
  path.replace(/(models|versions|labels)\/[^/:?]+/g, (_, kind: string) => `${kind}/{${kind.slice(0, -1)}}`);

/** Alike, numbers to the accuracy of 8 bits. */
function assertAlike(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected === 'number') {
    assert.ok(typeof actual === 'number' && Math.abs(actual - expected) < 0.02, `${where}: ${actual}, not ${expected}`);
  } else if (typeof expected === 'object' && expected !== null) {
    assert.ok(typeof actual === 'object' && actual !== null, where);
    assert.deepEqual(Object.keys(actual), Object.keys(expected), where);
    for (const [key, value] of Object.entries(expected)) {
      assertAlike((actual as Record<string, unknown>)[key], value, `${where}.${key}`);
    }
  } else assert.equal(actual, expected, where);
}

function assertError(response: Response, status: number, name: string): string {
  assert.equal(response.status, status, `${name}: ${response.text.slice(0, 300)}`);
  assert.match(response.headers['content-type'] ?? '', /^application\/json/, name);
  assert.ok(response.headers['x-request-id'], name);
  const body = JSON.parse(response.text) as { error: string };
  assert.deepEqual(Object.keys(body), ['error'], name);
  assert.ok(!/\bat .+:\d+:\d+|node_modules/.test(body.error), `${name}: a stack leaked`);
  return body.error;
}

test('requests and answers as TensorFlow Serving has them', async (t) => {
  const { http, app, store } = await servingApp(t);
  store.labels.set('canary', 2);
  for (const { name, request, response: expected } of WIRE) {
    const { method, path, body } = request;
    const response = method === 'GET' ? await http.get(path) : await http.post(path).send(body as object);
    assert.equal(response.status, expected.status, `${name}: ${response.text}`);
    assertAlike(response.body, expected.body, name);
    for (const [header, value] of Object.entries(expected.headers ?? {})) {
      assert.equal(response.headers[header], value, `${name}: ${header}`);
    }
    assertAnswer(app, response, method === 'GET' ? 'get' : 'post', documented(path));
  }
});

test('JSON is taken under any content type and under none, as curl -d and Python send it', async (t) => {
  const { app } = await servingApp(t);
  const payload = JSON.stringify({ instances: [top] });
  for (const type of [
    'application/x-www-form-urlencoded',
    'text/plain',
    'Application/JSON; charset=utf-8',
    undefined,
  ]) {
    const headers = type === undefined ? {} : { 'content-type': type };
    const response = await app.inject({ method: 'POST', url: '/v1/models/tiny:predict', headers, payload });
    assert.equal(response.statusCode, 200, `${type}: ${response.body}`);
    assert.equal((response.json() as { predictions: unknown[] }).predictions.length, 1);
  }
  const encoded = await app.inject({ method: 'POST', url: '/v1/models/tiny%3Apredict', payload });
  assert.equal(encoded.statusCode, 200, 'a colon that a client has encoded');
});

test('compressed bodies are taken, within the bound that the others have', async (t) => {
  const { app } = await servingApp(t, { config: { maxBodyBytes: 100_000 } });
  const send = (payload: Buffer, coding: string) =>
    app.inject({
      method: 'POST',
      url: '/v1/models/tiny:predict',
      headers: { 'content-encoding': coding },
      payload,
    });
  const body = Buffer.from(JSON.stringify({ instances: [top] }));
  for (const [coding, packed] of [
    ['gzip', gzipSync(body)],
    ['deflate', deflateSync(body)],
  ] as const) {
    const response = await send(packed, coding);
    assert.equal(response.statusCode, 200, `${coding}: ${response.body}`);
    assert.equal((response.json() as { predictions: unknown[] }).predictions.length, 1);
  }
  const bomb = await send(gzipSync(Buffer.alloc(10_000_000, 32)), 'gzip');
  assert.equal(bomb.statusCode, 413);
  assert.match((bomb.json() as { error: string }).error, /at most 100000 bytes after decompression/);
});

test('image files in base64, alone, named, and beside numbers', async (t) => {
  const { http } = await servingApp(t);
  const pixels = Buffer.from(top.map((x) => x * 255));
  const png = await sharp(pixels, { raw: { width: 4, height: 4, channels: 1 } })
    .png()
    .toBuffer();
  const b64 = png.toString('base64');
  const rows = { instances: [top, { b64 }, { input: { b64 } }] };
  const { body } = await http.post('/v1/models/tiny:predict').send(rows).expect(200);
  assert.deepEqual(body.predictions[1], body.predictions[0]);
  assert.deepEqual(body.predictions[2], body.predictions[0]);
  const columns = await http.post('/v1/models/tiny:predict').send({ inputs: { input: [{ b64 }] } });
  assert.deepEqual(columns.body, { outputs: [body.predictions[0]] });
  const examples = await http.post('/v1/models/tiny:classify').send({ examples: [{ input: { b64 } }] });
  assert.deepEqual(
    examples.body.results[0].map(([, score]: [string, number]) => score),
    body.predictions[0],
  );
});

test('what the query or the body says of precision reaches the service, and what ran comes back in headers', async (t) => {
  const { http, service } = await testApp(t);
  const send = (query: string, fields = {}) =>
    http
      .post(`/v1/models/tiny:predict${query}`)
      .send({ instances: [[1]], ...fields })
      .expect(200);
  const response = await send('?bits=4', { activation_bits: 8 });
  await send('?max_energy_uj=2.5&min_accuracy=0.9', { max_memory_kib: 40, max_latency_ms: 10 });
  await send('');
  assert.deepEqual(
    service.requests.map(({ choice }) => choice),
    [
      { bits: 4, activationBits: 8, budget: undefined },
      {
        bits: undefined,
        activationBits: undefined,
        budget: { maxEnergyUj: 2.5, maxMemoryKib: 40, maxLatencyMs: 10, minAccuracy: 0.9 },
      },
      { bits: undefined, activationBits: undefined, budget: undefined },
    ],
  );
  const { headers } = response;
  const names = ['version', 'bits', 'activation-bits', 'energy-uj', 'memory-bytes', 'expected-accuracy'];
  assert.deepEqual(
    names.map((name) => headers[`x-bitdial-${name}`]),
    ['1', '4', '8', '2', '100', undefined],
  );
  assert.deepEqual(Object.keys(response.body), ['predictions']);
});

test('probabilities of a row sum to one, at every width', async (t) => {
  const { http } = await servingApp(t);
  for (const bits of [2, 4, 8, 16, 32]) {
    const { body, headers } = await http
      .post(`/v1/models/tiny:predict?bits=${bits}`)
      .send({ instances: [top, top] })
      .expect(200);
    assert.equal(headers['x-bitdial-bits'], String(bits));
    for (const row of body.predictions as number[][]) {
      assert.ok(Math.abs(row.reduce((a, b) => a + b) - 1) < 1e-12);
      assert.equal(row.indexOf(Math.max(...row)), 0);
    }
  }
});

test('whatever is wrong is an error in this protocol’s words, and never a 5xx', async (t) => {
  const { http, app } = await servingApp(t, { config: { maxBodyBytes: 1048576 } });
  for (const [name, send, status, ...message] of TF_LINES) {
    const response = await send(http);
    const error = assertError(response, status, name);
    for (const part of message) assert.match(error, part, name);
    if (status === 405) assert.ok(response.headers.allow, name);
    const known = !/a route|percent-encoding|200 characters/.test(error) && status !== 405;
    const { method, url } = send(http) as unknown as { method: string; url: string };
    if (known) {
      assertAnswer(app, response, method === 'GET' ? 'get' : 'post', documented(decodeURI(new URL(url).pathname)));
    }
  }
  await http
    .post('/v1/models/tiny:predict')
    .send({ instances: [top] })
    .expect(200);
  const { text } = await http.get('/metrics').expect(200);
  assert.ok(!/status="5/.test(text), text.match(/.*status="5.*/)?.[0]);
  assert.match(text, /route="\/v1\/models\/:model:predict",status="400",code="wrong_shape"/);
});

test('overload says when to come back, and what is unexpected says nothing', async (t) => {
  const { http, service } = await testApp(t);
  const send = () => http.post('/v1/models/tiny:predict').send({ instances: [[1]] });
  service.inference = async () => {
    throw new ServiceError('overloaded', 'expected at most 256 predictions, got more', { retry_after_s: 1.2 });
  };
  const busy = await send();
  assert.match(assertError(busy, 503, 'overloaded'), /at most 256/);
  assert.equal(busy.headers['retry-after'], '2');
  service.inference = async () => {
    throw new TypeError('a secret of the inside');
  };
  assert.doesNotMatch(assertError(await send(), 500, 'internal'), /secret/);
});
