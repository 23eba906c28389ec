import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdminTokens } from '../../src/http/plugins/tokens.js';
import { assertProblem } from './answers.js';
import { AUTHORIZATION, TOKEN, testApp } from './app.js';

const ROUTES = [
  ['post', '/admin/train'],
  ['get', '/admin/jobs'],
  ['get', '/admin/jobs/x'],
  ['get', '/admin/jobs/x/events'],
  ['delete', '/admin/jobs/x'],
  ['post', '/admin/models'],
  ['post', '/admin/models/tiny/current'],
  ['post', '/admin/models/tiny/labels'],
  ['delete', '/admin/models/tiny/labels/canary'],
  ['delete', '/admin/models/tiny/variants'],
  ['get', '/admin/datasets'],
  ['post', '/admin/datasets?name=pets'],
  ['delete', '/admin/datasets/pets'],
] as const;

test('every admin route wants the token, and says how to give it', async (t) => {
  const { http, app } = await testApp(t);
  const documented = Object.entries(app.swagger().paths ?? {}).flatMap(([path, methods]) =>
    path.startsWith('/admin') ? Object.keys(methods ?? {}).map((method) => `${method} ${path}`) : [],
  );
  assert.equal(documented.length, ROUTES.length, `a route is missing here: ${documented}`);
  for (const [method, path] of ROUTES) {
    const response = await http[method](path);
    const problem = assertProblem(response, 'unauthorized');
    assert.equal(problem.actual, 'none');
    assert.equal(response.headers['www-authenticate'], 'Bearer realm="bitdial"');
  }
});

test('only the token itself opens', async (t) => {
  const { http } = await testApp(t);
  const wrong = [
    'Bearer',
    'Bearer ',
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(0, -1)}`,
    `Bearer ${TOKEN.toUpperCase()}`,
    `Bearer ${TOKEN} ${TOKEN}`,
    `Basic ${Buffer.from(`admin:${TOKEN}`).toString('base64')}`,
    TOKEN,
  ];
  for (const authorization of wrong) {
    assertProblem(await http.get('/admin/jobs').set('authorization', authorization), 'unauthorized', authorization);
  }
  for (const authorization of [AUTHORIZATION, `bearer ${TOKEN}`, `BEARER   ${TOKEN}`]) {
    const response = await http.get('/admin/jobs').set('authorization', authorization).expect(200);
    assert.equal(response.headers['cache-control'], 'no-store');
  }
  assertProblem(await http.get(`/admin/jobs?token=${TOKEN}`), 'unauthorized');
});

test('the token is checked before the query and the body', async (t) => {
  const { http } = await testApp(t);
  const response = await http.post('/admin/train?x=1').set('content-type', 'application/json').send('{');
  assertProblem(response, 'unauthorized');
});

test('of several tokens each opens, and no mixture of them', async (t) => {
  const { http } = await testApp(t, { adminTokens: new AdminTokens({ tokens: ['old-token', 'new-token', 'third'] }) });
  const status = async (token: string) =>
    (await http.get('/admin/jobs').set('authorization', `Bearer ${token}`)).status;
  for (const token of ['old-token', 'new-token', 'third']) assert.equal(await status(token), 200, token);
  for (const token of ['old-token,new-token', 'old', TOKEN]) assert.equal(await status(token), 401, token);
});

test('a client that guesses is not listened to for a while, another one is', async (t) => {
  const { app } = await testApp(t, { config: { authFailureLimit: 3, trustProxy: 'loopback' } });
  const ask = (client: string, token: string | undefined, url = '/admin/jobs') => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return app.inject({ method: 'GET', url, headers: { 'x-forwarded-for': client, ...authorization } });
  };
  // no token is no guess
  for (let i = 0; i < 5; i++) assert.equal((await ask('192.0.2.1', undefined)).statusCode, 401);
  const guesses = await Promise.all(Array.from({ length: 20 }, (_, i) => ask('192.0.2.1', `guess-${i}`)));
  const statuses = guesses.map(({ statusCode }) => statusCode).sort();
  assert.deepEqual(statuses, [401, 401, 401, ...Array(17).fill(429)]);
  const refused = await ask('192.0.2.1', TOKEN);
  assert.equal(refused.statusCode, 429, 'the right token would tell which guess was right');
  assert.equal(refused.json().code, 'too_many_requests');
  assert.ok(Number(refused.headers['retry-after']) > 50);
  assert.equal((await ask('192.0.2.1', undefined, '/models')).statusCode, 200);
  assert.equal((await ask('192.0.2.2', TOKEN)).statusCode, 200);
});

test('whoever guesses does not lock out those who share an address', async (t) => {
  const long = 'x'.repeat(32);
  const adminTokens = new AdminTokens({ tokens: [TOKEN, long] });
  const { app } = await testApp(t, { adminTokens, config: { authFailureLimit: 3 } });
  const status = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await app.inject({ method: 'GET', url: '/admin/jobs', headers })).statusCode;
  };
  // a token that was taken away, sent all the same
  for (const expected of [401, 401, 401, 429, 429, 429]) assert.equal(await status('old-token'), expected);
  assert.equal(await status(TOKEN), 200, 'one token again and again finds out nothing');
  // what is not answered 401 is a guess as well
  for (const guess of ['guess-1', 'guess-2', 'guess-3']) assert.equal(await status(guess), 429);
  assert.equal(await status(TOKEN), 429, 'short enough to be guessed');
  assert.equal(await status(long), 200, 'found by no guessing');
  assert.equal(await status('y'.repeat(32)), 429, 'long and wrong');
});

test('nothing else wants it', async (t) => {
  const { http } = await testApp(t);
  for (const path of ['/models', '/health/live', '/metrics', '/openapi.json', '/docs'])
    await http.get(path).expect(200);
});
