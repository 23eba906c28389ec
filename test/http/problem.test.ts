import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { test } from 'node:test';
import { ERRORS } from '../../src/errors.js';
import type { App } from '../../src/http/types.js';
import { assertProblem } from './answers.js';
import { AUTHORIZATION, testApp } from './app.js';

/** Sends text to the bare socket and gives what comes until the server closes it. */
function raw(app: App, text: string): Promise<string> {
  const { port } = app.server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer)).on('error', reject);
  });
}

test('a path that another method has is a 405 with Allow, any other a 404', async (t) => {
  const { http } = await testApp(t);
  const allowed: [string, string][] = [
    ['/predict', 'POST'],
    ['/models', 'GET, HEAD'],
    ['/models/some.model', 'GET, HEAD'],
    ['/admin/jobs/7', 'DELETE, GET, HEAD'],
    ['/admin/models/a/variants', 'DELETE'],
    ['/models/a/variants?x=1', 'GET, HEAD'],
  ];
  for (const [path, allow] of allowed) {
    const response = await http.put(path).set('authorization', AUTHORIZATION).send({});
    assertProblem(response, 'method_not_allowed', path);
    assert.equal(response.headers.allow, allow, path);
  }
  for (const path of ['/', '/predict/', '/model', '/models/a/b', '/admin', '/admin/models/a', '/..%2fetc']) {
    assertProblem(await http.get(path), 'route_not_found', path);
  }
  assertProblem(await http.put('/nothing').set('content-type', 'text/plain').send('body'), 'route_not_found');
});

test('what is no HTTP gets a problem, too, and no request id of its own making', async (t) => {
  const { app, http } = await testApp(t);
  const cases: [string, keyof typeof ERRORS][] = [
    ['NONSENSE\r\n\r\n', 'bad_request'],
    ['GET / HTTP/9.9\r\n\r\n', 'bad_request'],
    [`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 'headers_too_large'],
    [
      'POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      'bad_request',
    ],
  ];
  for (const [text, code] of cases) {
    const answer = await raw(app, text);
    const [head, body] = answer.split('\r\n\r\n', 2);
    assert.match(head, new RegExp(`^HTTP/1.1 ${ERRORS[code][0]} `), text.slice(0, 40));
    assert.match(head, /content-type: application\/problem\+json/);
    assert.equal(JSON.parse(body).code, code);
  }
  await http.get('/health/live').expect(200);
});

test('a client that hangs up in the middle leaves the service well', async (t) => {
  const { app, http, metrics } = await testApp(t);
  const { port } = app.server.address() as AddressInfo;
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write('POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: image/png\r\ncontent-length: 1000\r\n\r\nabc');
        setTimeout(() => socket.resetAndDestroy(), 5);
      });
      socket.on('close', () => resolve()).on('error', () => undefined);
    });
  }
  await http.get('/health/live').expect(200);
  const text = await metrics.text();
  assert.ok(!/status="5/.test(text), text);
  assert.match(text, /^bitdial_requests_in_flight 0$/m);
});

test('a request id comes back; a plain one from outside is kept, any other replaced', async (t) => {
  const { http } = await testApp(t);
  const id = async (given?: string) => {
    const request = http.get('/nothing');
    const response = await (given === undefined ? request : request.set('x-request-id', given));
    return assertProblem(response, 'route_not_found').instance as string;
  };
  assert.equal(await id('abc-123.X:7'), 'abc-123.X:7');
  const fresh = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;
  assert.match(await id(), fresh);
  for (const forged of ['a b', '{"x":1}', 'é', 'a'.repeat(129), '']) assert.match(await id(forged), fresh, forged);
  assert.notEqual(await id(), await id());
});

test('every answer has the security headers', async (t) => {
  const { http } = await testApp(t);
  for (const path of [
    '/models',
    '/nothing',
    '/docs',
    '/metrics',
    '/v1/models/tiny',
    '/models/%E0%A4%A',
    '/admin/jobs',
  ]) {
    const { headers } = await http.get(path);
    assert.equal(headers['x-content-type-options'], 'nosniff', path);
    assert.equal(headers['referrer-policy'], 'no-referrer', path);
    assert.equal(headers['x-frame-options'], 'DENY', path);
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin', path);
    assert.equal(headers['strict-transport-security'], undefined, path);
    if (path !== '/docs') assert.equal(headers['content-security-policy'], "default-src 'none';frame-ancestors 'none'");
  }
  const { headers } = await http.get('/docs').expect(200);
  assert.match(headers['content-security-policy'], /default-src 'self'/);
  assert.doesNotMatch(headers['content-security-policy'], /upgrade-insecure-requests/);
});
