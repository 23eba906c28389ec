import assert from 'node:assert/strict';
import { test } from 'node:test';
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

test('nothing else wants it', async (t) => {
  const { http } = await testApp(t);
  for (const path of ['/models', '/health/live', '/metrics', '/openapi.json', '/docs'])
    await http.get(path).expect(200);
});
