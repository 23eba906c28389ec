import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientWindow, clientKey } from '../../src/http/plugins/client-window.js';
import { assertProblem } from './answers.js';
import { testApp } from './app.js';

test('a client has so many requests in a minute; health and metrics are always answered', async (t) => {
  const { http, app } = await testApp(t, { config: { rateLimit: 3 } });
  for (let i = 0; i < 3; i++) await http.get('/models').expect(200);
  const refused = await http.post('/predict').send({ instances: [[1]] });
  const problem = assertProblem(refused, 'too_many_requests');
  assert.match(problem.detail as string, /at most 3 requests in a minute/);
  const wait = Number(refused.headers['retry-after']);
  assert.ok(wait > 50 && wait <= 60, `${wait}`);
  const protocol = await http.get('/v1/models/tiny').expect(429);
  assert.deepEqual(Object.keys(protocol.body), ['error']);
  assertProblem(await http.get('/nothing'), 'too_many_requests');
  for (const path of ['/health/live', '/metrics']) for (let i = 0; i < 5; i++) await http.get(path).expect(200);
  await http.get('/health/ready').expect(503);
  const { paths = {} } = app.swagger();
  assert.ok(paths['/predict']?.post?.responses?.[429]);
  assert.ok(!paths['/health/live']?.get?.responses?.[429]);
});

test('who a client is, is what a trusted proxy says of it, and nobody else', async (t) => {
  const ask = async (trustProxy: string, ...forwarded: string[]) => {
    const { app } = await testApp(t, { config: { rateLimit: 1, trustProxy } });
    const statuses = [];
    for (const value of forwarded) {
      const headers = { 'x-forwarded-for': value };
      statuses.push((await app.inject({ method: 'GET', url: '/models', headers })).statusCode);
    }
    return statuses;
  };
  assert.deepEqual(await ask('', '192.0.2.1', '192.0.2.2'), [200, 429], 'a header that anyone can send');
  assert.deepEqual(await ask('loopback', '192.0.2.1', '192.0.2.2', '192.0.2.1'), [200, 200, 429]);
  assert.deepEqual(await ask('127.0.0.0/8', '192.0.2.1', '192.0.2.2'), [200, 200]);
  assert.deepEqual(await ask('10.0.0.1', '192.0.2.1', '192.0.2.2'), [200, 429], 'it came from another proxy');
  // what stands before the trusted proxy's own entry was said by the client
  assert.deepEqual(await ask('1', '198.51.100.1, 192.0.2.1', '198.51.100.2, 192.0.2.1'), [200, 429]);
});

test('nothing is counted where there is no limit', async (t) => {
  const { http } = await testApp(t);
  for (let i = 0; i < 30; i++) await http.get('/models').expect(200);
});

test('a window begins with the first and ends after a minute', () => {
  let now = 1000;
  const window = new ClientWindow(2, () => now);
  assert.equal(window.waitSeconds('192.0.2.1'), 0);
  window.add('192.0.2.1');
  now += 20_000;
  window.add('192.0.2.1');
  assert.equal(window.waitSeconds('192.0.2.1'), 40);
  assert.equal(window.waitSeconds('192.0.2.2'), 0);
  now += 40_000;
  assert.equal(window.waitSeconds('192.0.2.1'), 0);
  window.add('192.0.2.1');
  assert.equal(window.waitSeconds('192.0.2.1'), 0, 'counted anew');
});

test('what counts once counts once in a window, and is forgotten with it', () => {
  let now = 0;
  const window = new ClientWindow(2, () => now);
  for (const item of ['a', 'a', 'a']) window.add('192.0.2.1', item);
  assert.equal(window.waitSeconds('192.0.2.1'), 0);
  window.add('192.0.2.1', 'b');
  assert.equal(window.waitSeconds('192.0.2.1'), 60);
  now += 60_000;
  window.add('192.0.2.1', 'a');
  assert.equal(window.waitSeconds('192.0.2.1'), 0);
  window.add('192.0.2.1', 'b');
  assert.equal(window.waitSeconds('192.0.2.1'), 60);
});

test('however many clients there are, few are remembered, and none for longer than a minute', () => {
  let now = 0;
  const window = new ClientWindow(1, () => now);
  for (let i = 0; i < 25_000; i++) window.add(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  assert.equal(window.size, 10_000);
  assert.equal(window.waitSeconds('10.0.97.167'), 60, 'the last one');
  now += 60_000;
  window.add('192.0.2.1');
  assert.equal(window.size, 1);
});

test('addresses of one IPv6 network are one client', () => {
  const cases: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8:0:0::/64'],
    ['2001:DB8:0:1::', '2001:db8:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ];
  for (const [ip, key] of cases) assert.equal(clientKey(ip), key, ip);
});
