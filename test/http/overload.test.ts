import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { assertAnswer, assertProblem } from './answers.js';
import { servingApp, testApp } from './app.js';
import { fakeAnswer } from './fakes.js';
import { PIXELS } from './tiny.js';

const RAW = 'application/octet-stream';
const port = (app: { server: { address(): unknown } }) => (app.server.address() as { port: number }).port;

test('a service that is full refuses before the body is parsed, with the time to come back', async (t) => {
  const { http, service } = await testApp(t);
  service.full = new ServiceError('overloaded', '4 of 4', { retry_after_s: 7 });
  // Not JSON: whoever parses it finds out.
  const busy = await http.post('/predict').set('content-type', 'application/json').send('{'.repeat(10_000_000));
  assertProblem(busy, 'overloaded');
  assert.equal(busy.headers['retry-after'], '7');
  assert.deepEqual(service.requests, []);
  service.full = null;
  await http.post('/predict').set('content-type', RAW).send(Buffer.alloc(8)).expect(200);
});

test('the refusal does not wait for the body', async (t) => {
  const { app, service } = await testApp(t);
  service.full = new ServiceError('too_many_requests', '4 of 4', { retry_after_s: 1 });
  const socket = connect(port(app), '127.0.0.1');
  socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\ncontent-length: 10000000\r\n\r\nhalf`);
  const [chunk] = await once(socket, 'data');
  socket.destroy();
  assert.match(String(chunk), /^HTTP\/1\.1 429 /);
  assert.match(String(chunk), /\r\nretry-after: 1\r\n/i);
});

/** What comes back on a connection of its own, to its end or until `enough`. */
async function converse(socket: Socket, enough: (text: string) => boolean): Promise<string> {
  let text = '';
  while (!enough(text)) {
    const [chunk] = await Promise.race([once(socket, 'data'), once(socket, 'end')]);
    if (chunk === undefined) return text;
    text += chunk;
  }
  return text;
}
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
const head = (length: number, more = '') =>
  `POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\ncontent-length: ${length}\r\n${more}\r\n`;

test('a client that writes its whole body before it reads gets the refusal, and keeps its connection', async (t) => {
  const { app, service } = await testApp(t);
  service.full = new ServiceError('overloaded', '4 of 4', { retry_after_s: 1 });
  const socket = connect(port(app), '127.0.0.1');
  t.after(() => socket.destroy());
  const body = Buffer.alloc(10_000_000, 0x5b);
  for (let i = 0; i < 3; i++) {
    socket.pause();
    socket.write(head(body.length));
    await new Promise((resolve) => socket.write(body, resolve));
    const answer = converse(socket, (text) => text.endsWith('}'));
    socket.resume();
    assert.deepEqual(statuses(await answer), ['503']);
  }
  service.full = null;
  socket.write(`${head(4)}body`);
  assert.deepEqual(statuses(await converse(socket, (text) => text.endsWith('}'))), ['200']);
});

test('a body that was refused is dropped a piece at a time: whoever else comes has a turn between them', async (t) => {
  const { app, service } = await testApp(t);
  service.full = new ServiceError('overloaded', '4 of 4', { retry_after_s: 1 });
  const refused = new Promise<IncomingMessage>((resolve) => app.server.once('request', resolve));
  const socket = connect(port(app), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(head(10_000_000));
  const body = await refused;
  await converse(socket, (text) => text.endsWith('}'));
  let [pieces, turns] = [0, 0];
  body.on('data', () => pieces++);
  body.on('resume', () => turns++);
  socket.write(Buffer.alloc(10_000_000, 0x5b));
  await once(body, 'end');
  assert.ok(pieces > 100, `${pieces} pieces`);
  assert.ok(turns >= pieces - 1, `${turns} turns for ${pieces} pieces`);
});

test('a client that waits to be told does not send a body that nobody will read', async (t) => {
  const { app, service } = await testApp(t);
  service.full = new ServiceError('overloaded', '4 of 4', { retry_after_s: 7 });
  const socket = connect(port(app), '127.0.0.1');
  socket.write(head(10_000_000, 'expect: 100-continue\r\n'));
  const refusal = await converse(socket, () => false);
  assert.deepEqual(statuses(refusal), ['503'], 'and not 100 before it');
  assert.match(refusal, /\r\nretry-after: 7\r\n/i);
  assert.match(refusal, /\r\nconnection: close\r\n/i, 'what comes next could be a body or a request');
  assert.deepEqual(service.requests, []);
});

test('a client that waits to be told is told when its body is wanted', async (t) => {
  const { app, service } = await testApp(t);
  const ask = async (length: number) => {
    const socket = connect(port(app), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.write(head(length, 'expect: 100-continue\r\n'));
    return { socket, first: await converse(socket, (text) => text.endsWith('\r\n\r\n') || text.endsWith('}')) };
  };
  const { socket, first } = await ask(4);
  assert.deepEqual(statuses(first), ['100']);
  for (const request of ['body', `${head(4)}body`]) {
    socket.write(request);
    assert.deepEqual(statuses(await converse(socket, (text) => text.endsWith('}'))), ['200'], 'the connection is kept');
  }
  assert.equal(service.requests.length, 2);
  assert.deepEqual(statuses((await ask(1e9)).first), ['413'], 'one that is too large is not wanted');
});

test('a client that goes away aborts its request, one that got its answer does not', async (t) => {
  const { app, http, service } = await testApp(t);
  await http.post('/predict').set('content-type', RAW).send(Buffer.alloc(8)).expect(200);
  const [answered] = service.requests;
  assert.equal(answered.signal?.aborted, false);
  let asked: () => void = () => {};
  const arrived = new Promise<void>((resolve) => (asked = resolve));
  const aborted = new Promise<void>((resolve) => {
    service.answer = (request) =>
      new Promise((_, reject) => {
        asked();
        request.signal?.addEventListener('abort', () => {
          resolve();
          reject(new ServiceError('client_closed_request', 'the client went away'));
        });
      });
  });
  const socket = connect(port(app), '127.0.0.1');
  socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${RAW}\r\ncontent-length: 4\r\n\r\nbody`);
  await arrived;
  socket.destroy();
  await aborted;
  assert.equal(answered.signal?.aborted, false);
  service.answer = async () => fakeAnswer();
  await http.post('/predict').set('content-type', RAW).send(Buffer.alloc(8)).expect(200);
});

test('a client that goes away takes the requests along that it had sent behind the first, and nothing is left counted', async (t) => {
  const { app, http, service } = await testApp(t);
  const answers: (() => void)[] = [];
  service.answer = () => new Promise((resolve) => answers.push(() => resolve(fakeAnswer())));
  const socket = connect(port(app), '127.0.0.1');
  socket.write(`${head(4)}body`.repeat(12));
  while (service.requests.length < 12) await new Promise(setImmediate);
  socket.destroy();
  while (!service.requests[0].signal?.aborted) await new Promise(setImmediate);
  assert.ok(service.requests.every(({ signal }) => signal?.aborted));
  for (const answer of answers) answer();
  const { text } = await http.get('/metrics');
  assert.match(text, /^bitdial_requests_in_flight 1$/m, 'this one');
});

test('requests sent one behind the other are answered in order', async (t) => {
  const { app, service } = await testApp(t);
  const answers: (() => void)[] = [];
  service.answer = () => new Promise((resolve) => answers.push(() => resolve(fakeAnswer())));
  const socket = connect(port(app), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(`${head(4)}body`.repeat(3));
  while (answers.length < 3) await new Promise(setImmediate);
  for (const answer of answers.reverse()) answer();
  assert.deepEqual(statuses(await converse(socket, (text) => statuses(text).length === 3)), ['200', '200', '200']);
  assert.ok(service.requests.every(({ signal }) => !signal?.aborted));
});

test('a time that is too short is a 504, and no time is a 400', async (t) => {
  const { http, app, service } = await testApp(t);
  service.answer = async ({ deadlineMs }) => {
    if (deadlineMs === 0.5) throw new ServiceError('deadline_exceeded', 'not there in time', { timeout_ms: 0.5 });
    return fakeAnswer();
  };
  const send = (query: string) => http.post(`/predict?${query}`).set('content-type', RAW).send(Buffer.alloc(8));
  const late = await send('timeout_ms=0.5');
  assertAnswer(app, late, 'post', '/predict');
  assert.equal(late.status, 504);
  assertProblem(late, 'deadline_exceeded');
  await send('timeout_ms=100').expect(200);
  for (const wrong of ['0', '-1', 'soon', '1e999']) {
    assert.equal(assertProblem(await send(`timeout_ms=${wrong}`), 'invalid_field').field, 'timeout_ms');
  }
});

test('an answer at lowered bits says from which, and why', async (t) => {
  const { http, app, service } = await testApp(t);
  const degraded = { from: { bits: 8, activation_bits: 8 }, reason: 'power' } as const;
  service.answer = async () => ({ ...fakeAnswer(), degraded });
  const lowered = await http.post('/predict').set('content-type', RAW).send(Buffer.alloc(8)).expect(200);
  assertAnswer(app, lowered, 'post', '/predict');
  assert.deepEqual(lowered.body.degraded, degraded);
});

test('metrics tell of batches, the queue, the power budget, and what was lowered or turned away', async (t) => {
  const { http, app, service, metrics } = await servingApp(t, { config: { powerBudgetMw: 1e-7, maxQueue: 9 } });
  const send = () => http.post('/predict').send({ instances: Array(3).fill(Array(PIXELS).fill(0)) });
  const refused = await send();
  assertAnswer(app, refused, 'post', '/predict');
  assertProblem(refused, 'power_budget');
  assert.equal(refused.headers['retry-after'], undefined, 'no time would help');
  metrics.observer.onBatch?.({
    model: 'tiny',
    version: 1,
    bits: 4,
    activationBits: 8,
    requests: 2,
    instances: 5,
    computeMs: 1,
  });
  metrics.observer.onPrediction?.({
    model: 'tiny',
    version: 1,
    bits: 4,
    activationBits: 8,
    instances: 1,
    energyUj: 1,
    expectedAccuracy: null,
    totalMs: 1,
    inputMs: 0,
    queueMs: 0,
    computeMs: 1,
    degraded: 'overload',
  });
  const { text } = await http.get('/metrics').expect(200);
  const lines = new Set(text.split('\n'));
  for (const line of [
    'bitdial_batch_instances_bucket{le="4",bits="4",activation_bits="8"} 0',
    'bitdial_batch_instances_bucket{le="8",bits="4",activation_bits="8"} 1',
    'bitdial_batched_requests_total 2',
    'bitdial_queue_instances{state="taken"} 0',
    'bitdial_queue_limit_instances 9',
    'bitdial_rejected_total{reason="power"} 1',
    'bitdial_degraded_total{model="tiny",reason="overload"} 1',
    'bitdial_brown_out 0',
    'bitdial_power_watts 0',
  ]) {
    assert.ok(
      lines.has(line),
      `${line}\n${text
        .split('\n')
        .filter((l) => l.startsWith('bitdial'))
        .join('\n')}`,
    );
  }
  const watts = Number(/^bitdial_power_budget_watts (.*)$/m.exec(text)?.[1]);
  assert.ok(Math.abs(watts - 1e-10) < 1e-20, `${watts}`);
  assert.equal(service.load().taken, 0);
});
