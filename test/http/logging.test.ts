import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger, timestamps } from '../../src/http/plugins/logging.js';
import { AUTHORIZATION, TOKEN, testApp } from './app.js';

/** A destination that keeps what is written. */
function sink() {
  const lines: string[] = [];
  return {
    write: (line: string) => void lines.push(line),
    get text() {
      return lines.join('');
    },
    requests: () => lines.map((l) => JSON.parse(l)).filter((l) => l.msg === 'request'),
  };
}

test('one line for each request says what was asked and what it cost', async (t) => {
  const log = sink();
  const { http } = await testApp(t, { log });
  await http
    .post('/predict?bits=4')
    .set('x-request-id', 'mine-1')
    .send({ instances: [[1]] })
    .expect(200);
  await http
    .post('/predict?bits=1')
    .set('x-request-id', 'mine-2')
    .send({ instances: [[1]] })
    .expect(400);
  await http.get('/models/%zz').set('x-request-id', 'mine-3').expect(400);
  const lines = log.requests();
  assert.equal(lines.length, 3);
  const { ms, time, ...first } = lines[0];
  assert.ok(ms > 0 && !Number.isNaN(Date.parse(time)));
  assert.deepEqual(first, {
    level: 30,
    request_id: 'mine-1',
    method: 'POST',
    path: '/predict',
    status: 200,
    model: 'tiny',
    version: 1,
    bits: 4,
    activation_bits: 8,
    energy_uj: 2,
    msg: 'request',
  });
  assert.deepEqual([lines[1].status, lines[1].code, lines[1].request_id], [400, 'invalid_field', 'mine-2']);
  assert.deepEqual([lines[2].status, lines[2].code, lines[2].request_id], [400, 'bad_request', 'mine-3']);
});

test('the id of a request is the caller’s where it is plain, else a new one; a traceparent is told on', async (t) => {
  const log = sink();
  const { http } = await testApp(t, { log });
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const send = (headers: Record<string, string>) => http.get('/models/none').set(headers).expect(404);
  const cases: [string, string | null][] = [
    ['a-B_c.d:1', 'a-B_c.d:1'],
    ['x'.repeat(128), 'x'.repeat(128)],
    ['x'.repeat(129), null],
    ['two words', null],
    ['a","level":60', null],
    ['', null],
  ];
  for (const [given, kept] of cases) {
    const { headers, body } = await send({ 'x-request-id': given });
    if (kept === null) assert.match(headers['x-request-id'], /^[\da-f]{8}-[\da-f-]{27}$/, given);
    else assert.equal(headers['x-request-id'], kept);
    assert.equal(body.instance, headers['x-request-id']);
    assert.equal(log.requests().at(-1).request_id, headers['x-request-id']);
    assert.ok(!('trace_id' in body) && !('trace_id' in log.requests().at(-1)), 'there is no trace');
  }
  const { body } = await send({ traceparent: `00-${trace}-b7ad6b7169203331-01` });
  assert.equal(body.trace_id, trace);
  assert.equal(log.requests().at(-1).trace_id, trace);
  const unreadable = await http.get('/models/%zz').set('traceparent', `00-${trace}-b7ad6b7169203331-00`);
  assert.equal(unreadable.body.trace_id, trace);
  for (const traceparent of [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `ff-${trace}-b7ad6b7169203331-01`, trace])
    assert.ok(!('trace_id' in (await send({ traceparent })).body), traceparent);
});

test('a request whose client went away has a line, too', async (t) => {
  const log = sink();
  const { app } = await testApp(t, { log });
  const { port } = app.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  const head = ['POST /predict HTTP/1.1', 'host: x', 'x-request-id: gone', 'content-type: application/octet-stream'];
  socket.write(`${head.join('\r\n')}\r\ncontent-length: 16\r\n\r\n12`);
  await once(app.server, 'request');
  socket.destroy();
  while (log.requests().length === 0) await sleep(5);
  const [{ request_id, client_closed, status }] = log.requests();
  assert.deepEqual([request_id, client_closed, status], ['gone', true, undefined]);
});

test('bodies, query values and tokens stay out', async (t) => {
  const log = sink();
  const { http, service } = await testApp(t, { log });
  await http.post('/predict?model=querysecret').send({ instances: [['bodysecret']] });
  await http.post('/predict').set('content-type', 'application/json').send('{"bodysecret":');
  await http.get(`/admin/jobs?token=${TOKEN}`).set('authorization', AUTHORIZATION);
  await http.get('/admin/jobs').set('authorization', `${AUTHORIZATION}wrong`);
  await http.get('/models').set('cookie', 'cookiesecret=1');
  service.answer = async () => {
    throw new Error('unexpected');
  };
  await http
    .post('/predict')
    .set('authorization', AUTHORIZATION)
    .send({ instances: [['bodysecret']] })
    .expect(500);
  assert.equal(log.requests().length, 6);
  assert.doesNotMatch(log.text, new RegExp(`bodysecret|querysecret|cookiesecret|${TOKEN}`));
  assert.match(log.text, /"msg":"unexpected error"/, 'what is unexpected is in the log');
  assert.match(log.text, /"stack":"Error: unexpected/);
});

test('secrets are redacted wherever they are logged', () => {
  const log = sink();
  const logger = createLogger('info', log);
  logger.info({ authorization: 'tell', req: { headers: { authorization: 'tell' } }, config: { adminToken: 'tell' } });
  assert.doesNotMatch(log.text, /tell/);
  assert.equal(log.text.match(/\[redacted\]/g)?.length, 3);
});

test('probes are logged at debug only', async (t) => {
  const log = sink();
  const { http } = await testApp(t, { log });
  await http.get('/health/live').expect(200);
  await http.get('/metrics').expect(200);
  assert.deepEqual(
    log.requests().map((l) => l.level),
    [20, 20],
  );
});

test('lines have the time of their writing to the millisecond, also where clocks go back', () => {
  let now = 0;
  const stamp = timestamps(() => now);
  for (const at of [0, 999, 1000, 1_795_549_585_007, 1_795_549_585_990, 1_795_549_586_000, 1_795_549_585_123]) {
    now = at;
    assert.equal(stamp(), `,"time":"${new Date(at).toISOString()}"`);
  }
});
