import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '../../src/http/plugins/logging.js';
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
