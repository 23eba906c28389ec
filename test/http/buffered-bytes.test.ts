/** The bound on all bodies together: who is refused, in whose words, and that every byte is given back. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { PredictAnswer } from '../../src/serving/request.js';
import { assertAnswer, assertProblem } from './answers.js';
import { AUTHORIZATION, servingApp, type TestApp, testApp } from './app.js';
import { fakeAnswer } from './fakes.js';
import { PIXELS } from './tiny.js';

const RAW = 'application/octet-stream';
const MAX = 100_000;
const GUARD = { timeout: 60_000 };
const CHUNKED = { 'transfer-encoding': 'chunked' };
const instances = [Array(PIXELS).fill(0)];

const small = (t: TestContext) => testApp(t, { config: { maxBufferedBytes: MAX } });
const length = (bytes: number) => ({ 'content-length': String(bytes) });

/** A connection on which the head of a request was sent; its body is the test's to send. */
function begin(
  t: TestContext,
  { app }: Pick<TestApp, 'app'>,
  headers: Record<string, string>,
  path = '/predict',
): Socket {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  const lines = Object.entries({ host: 'x', 'content-type': RAW, ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  return socket;
}

/** What comes on it until there is an answer. */
async function answer(socket: Socket): Promise<string> {
  let text = '';
  while (!/\r\n\r\n.*\}/s.test(text)) {
    const [data] = await once(socket, 'data');
    text += data;
  }
  return text;
}
const chunk = (bytes: number) => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;
const END = '0\r\n\r\n';

async function gauge({ http }: Pick<TestApp, 'http'>, name = 'bitdial_buffered_bytes'): Promise<number> {
  const { text } = await http.get('/metrics').expect(200);
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

/** An answer is with its client a moment before its bytes are given back. */
async function becomes(app: Pick<TestApp, 'http'>, bytes: number): Promise<void> {
  while ((await gauge(app)) !== bytes) await new Promise(setImmediate);
}

test('uploads up to the bound go on together, one more is refused unread, and passes after them', GUARD, async (t) => {
  const app = await small(t);
  const uploads = [1, 2].map(() => begin(t, app, length(MAX / 2)));
  for (const upload of uploads) upload.write('x');
  await becomes(app, MAX);
  assert.equal(await gauge(app, 'bitdial_buffered_limit_bytes'), MAX);
  const more = begin(t, app, length(8));
  const refusal = await answer(more);
  assert.match(refusal, /^HTTP\/1.1 503 /);
  assert.match(refusal, /\r\nretry-after: 1\r\n/i);
  assert.match(refusal, /"code":"overloaded"/);
  assert.equal(await gauge(app, 'bitdial_rejected_total{reason="bodies"}'), 1);
  assert.deepEqual(app.service.requests, []);
  for (const upload of uploads) {
    upload.write('x'.repeat(MAX / 2 - 1));
    assert.match(await answer(upload), /^HTTP\/1.1 200 /);
  }
  await becomes(app, 0);
  // the connection is kept: what comes of the refused body is dropped, and the next request is read
  more.write('x'.repeat(8));
  more.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\ncontent-length: 8\r\n\r\nxxxxxxxx`);
  assert.match(await answer(more), /^HTTP\/1.1 200 /);
  await becomes(app, 0);
});

test('a body whose length is not known is counted as it comes, and refused when there is no room', GUARD, async (t) => {
  const app = await small(t);
  const upload = begin(t, app, CHUNKED);
  upload.write(chunk(60_000));
  await becomes(app, 60_000);
  const more = begin(t, app, CHUNKED);
  more.write(chunk(30_000));
  await becomes(app, 90_000);
  more.write(chunk(30_000));
  assert.match(await answer(more), /^HTTP\/1.1 503 /);
  await becomes(app, 60_000);
  more.write(chunk(50_000) + END);
  upload.write(END);
  assert.match(await answer(upload), /^HTTP\/1.1 200 /);
  await becomes(app, 0);
  more.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\ncontent-length: 4\r\n\r\nbody`);
  assert.match(await answer(more), /^HTTP\/1.1 200 /, 'the connection is kept');
});

test('a compressed body counts as what it becomes', GUARD, async (t) => {
  const app = await servingApp(t, { config: { maxBufferedBytes: MAX } });
  const { http } = app;
  const text = (value: object) => gzipSync(`${JSON.stringify(value)}${' '.repeat(70_000)}`);
  const cases = [
    ['/v1/models/tiny:predict', '/v1/models/{model}:predict', { instances }],
    [
      '/v2/models/tiny/infer',
      '/v2/models/{model}/infer',
      { inputs: [{ name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data: instances[0] }] },
    ],
    ['/v2/repository/index', '/v2/repository/index', {}],
  ] as const;
  const upload = begin(t, app, length(40_000));
  await becomes(app, 40_000);
  for (const [path, documented, value] of cases) {
    const body = text(value);
    assert.ok(body.length < 1000);
    const send = () =>
      http
        .post(path)
        .set('content-type', 'application/json')
        .set('content-encoding', 'gzip')
        .serialize((b) => b)
        .send(body);
    const refused = await send();
    assert.equal(refused.status, 503, path);
    assert.equal(refused.headers['retry-after'], '1');
    assert.deepEqual(Object.keys(refused.body), ['error'], path);
    assert.match(refused.body.error, /the service takes 100000 at a time/);
    assertAnswer(app.app, refused, 'post', documented);
    await becomes(app, 40_000);
  }
  upload.destroy();
  await becomes(app, 0);
  for (const [path, , value] of cases) {
    const send = () =>
      http
        .post(path)
        .set('content-type', 'application/json')
        .set('content-encoding', 'gzip')
        .serialize((b) => b);
    await send().send(text(value)).expect(200);
    assert.equal((await send().send(Buffer.from('no gzip'))).status, 400);
    assert.equal((await send().send(gzipSync(Buffer.alloc(20_000_000)))).status, 413);
    await becomes(app, 0);
  }
});

test('each protocol words the refusal as its own, with the status that the settings say', GUARD, async (t) => {
  const app = await testApp(t, { config: { maxBufferedBytes: MAX, overloadStatus: '429' } });
  const upload = begin(t, app, length(MAX));
  await becomes(app, MAX);
  const problem = await app.http.post('/predict').set('content-type', RAW).send(Buffer.alloc(8));
  assertProblem(problem, 'too_many_requests');
  assertAnswer(app.app, problem, 'post', '/predict');
  for (const path of ['/v1/models/tiny:classify', '/v2/models/tiny/versions/1/infer', '/v2/repository/index']) {
    const { status, headers, body } = await app.http.post(path).send({ ready: true });
    assert.equal(status, 429, path);
    assert.equal(headers['retry-after'], '1', path);
    assert.deepEqual(Object.keys(body), ['error'], path);
  }
  // what has no body, or an administrator's, is not its affair
  await app.http.post('/v2/repository/index').expect(200);
  await app.http.post('/admin/train').set('authorization', AUTHORIZATION).send({ model: 'mine' }).expect(202);
  upload.destroy();
});

test('a client that waits to be told hears the refusal instead', GUARD, async (t) => {
  const app = await small(t);
  const upload = begin(t, app, length(MAX));
  await becomes(app, MAX);
  const refusal = await answer(begin(t, app, { ...length(8), expect: '100-continue' }));
  assert.match(refusal, /^HTTP\/1.1 503 /, 'and not 100 before it');
  assert.match(refusal, /\r\nconnection: close\r\n/i);
  upload.destroy();
});

/** To /predict, in one piece that says its length or in pieces that do not. */
function send({ http }: Pick<TestApp, 'http'>, type: string, body: string | Buffer, chunked: boolean) {
  const request = http.post('/predict').set('content-type', type);
  if (!chunked) return request.send(body);
  request.set(CHUNKED).write(body as never);
  return request;
}

test('one that is larger than the bound passes while nobody else is there', GUARD, async (t) => {
  const app = await small(t);
  for (const chunked of [false, true]) {
    await send(app, RAW, Buffer.alloc(2 * MAX), chunked).expect(200);
    await becomes(app, 0);
  }
  assert.equal(app.service.requests.length, 2);
});

test('bytes come back whatever became of the request', GUARD, async (t) => {
  const app = await testApp(t, { config: { maxBufferedBytes: MAX, maxBodyBytes: 50_000 } });
  const json = 'application/json';
  for (const chunked of [false, true]) {
    await send(app, RAW, 'pixels', chunked).expect(200);
    assertProblem(await send(app, json, '{"instances":', chunked), 'malformed_json');
    assertProblem(await send(app, json, '{"instances":[]}', chunked), 'invalid_field');
    assertProblem(await send(app, 'text/plain', 'text', chunked), 'unsupported_media_type');
    assertProblem(await send(app, RAW, Buffer.alloc(50_001), chunked), 'body_too_large');
    await becomes(app, 0);
    // a client that goes away before all of its body is there
    const upload = begin(t, app, chunked ? CHUNKED : length(1000));
    upload.write('5\r\nbytes\r\n');
    await becomes(app, chunked ? 5 : 1000);
    upload.destroy();
    await becomes(app, 0);
  }
});

test('bytes are held until the answer is sent or nobody waits for it', GUARD, async (t) => {
  const app = await small(t);
  const answers: ((answer: PredictAnswer) => void)[] = [];
  app.service.answer = () => new Promise((resolve) => answers.push(resolve));
  const [stays, leaves] = [0, 1].map(() => begin(t, app, length(1000)));
  stays.write('x'.repeat(1000));
  // requests that wait for the first one's answer, too
  leaves.write(`${'x'.repeat(1000)}POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\n`);
  leaves.write(`content-length: 500\r\n\r\n${'x'.repeat(500)}`);
  while (answers.length < 3) await new Promise(setImmediate);
  assert.equal(await gauge(app), 2500);
  leaves.destroy();
  await becomes(app, 1000);
  for (const resolve of answers) resolve(fakeAnswer());
  assert.match(await answer(stays), /^HTTP\/1.1 200 /);
  await becomes(app, 0);
});
