import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errors } from 'typebox/value';
import { ERRORS, type ErrorCode } from '../../src/errors.js';
import { assertAnswer } from './answers.js';
import { testApp } from './app.js';

interface Media {
  schema: Record<string, unknown>;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
interface Operation {
  operationId: string;
  summary: string;
  tags: string[];
  security?: unknown[];
  parameters?: {
    name: string;
    in: string;
    required: boolean;
    description?: string;
    schema: object;
    example?: unknown;
  }[];
  requestBody?: { required: boolean; content: Record<string, Media> };
  responses: Record<string, { description: string; content?: Record<string, Media> }>;
}
interface Document {
  openapi: string;
  info: { title: string; version: string };
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; securitySchemes: Record<string, { type: string; scheme: string }> };
}

function operations(document: Document): [string, Operation][] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [`${method} ${path}`, operation]),
  );
}

test('the document is whole: ids, tags, parameters, responses', async (t) => {
  const { http, app } = await testApp(t);
  const response = await http.get('/openapi.json').expect(200);
  assertAnswer(app, response, 'get', '/openapi.json');
  const document = response.body as Document;
  assert.match(document.openapi, /^3\.1\./);
  assert.deepEqual([document.info.title, document.info.version], ['bitdial', '1.2.3']);
  assert.deepEqual(document.components.securitySchemes.adminToken.scheme, 'bearer');
  const tags = document.tags.map(({ name }) => name);
  const ids = new Set<string>();
  for (const [name, operation] of operations(document)) {
    assert.ok(operation.operationId && !ids.has(operation.operationId), name);
    ids.add(operation.operationId);
    assert.ok(operation.summary, name);
    assert.ok(operation.tags.length === 1 && tags.includes(operation.tags[0]), name);
    const guarded = /\/admin\/|\/v2\/repository\/models\//.test(name);
    assert.equal(operation.security !== undefined, guarded, name);
    const inPath = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
    const parameters = operation.parameters ?? [];
    assert.deepEqual(
      parameters.filter((p) => p.in === 'path').map((p) => p.name),
      inPath,
      name,
    );
    for (const parameter of parameters) {
      assert.ok(parameter.description, `${name} ${parameter.name}: no description`);
      assert.ok(Object.keys(parameter.schema).length > 0, `${name} ${parameter.name}: no schema`);
      assert.notEqual(parameter.example, undefined, `${name} ${parameter.name}: no example`);
      if (parameter.in === 'path') assert.equal(parameter.required, true);
    }
    assert.ok(
      Object.keys(operation.responses).some((status) => /^2/.test(status)),
      name,
    );
    for (const [status, { description }] of Object.entries(operation.responses)) {
      assert.match(status, /^[2-5]\d\d$/);
      assert.ok(description && description !== 'Default Response', `${name} ${status}: no description`);
    }
  }
  for (const [, reference] of response.text.matchAll(/"\$ref":"([^"]+)"/g)) {
    const target = reference.replace('#/', '').split('/');
    assert.ok(
      target.reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], document),
      reference,
    );
  }
});

test('every route is in it, and no other', async (t) => {
  const { app } = await testApp(t);
  const documented = operations(app.swagger() as unknown as Document).map(([name]) => name.toUpperCase());
  const registered: string[] = [];
  let path: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const match = /^((?:[│ ] {3})*)[├└]── (\S+?)(?: \(([A-Z, ]+)\))?$/.exec(line);
    if (!match) continue;
    path = [...path.slice(0, match[1].length / 4), match[2]];
    const url = path
      .join('')
      .replace(/(?<!:):(\w+)(\([^)]*\))?/g, '{$1}')
      .replaceAll('::', ':');
    if (url.startsWith('/docs')) continue;
    for (const method of match[3]?.split(', ') ?? [])
      if (method !== 'HEAD') registered.push(`${method} ${url}`.toUpperCase());
  }
  assert.ok(registered.length >= 15, registered.join());
  assert.deepEqual(registered.sort(), documented.sort());
});

test('every answer and every body has an example that fits its schema; problems are examples of their code', async (t) => {
  const { app } = await testApp(t);
  const document = app.swagger() as unknown as Document;
  for (const [name, { responses, requestBody }] of operations(document)) {
    for (const [status, { content }] of Object.entries(responses)) {
      for (const [type, media] of Object.entries(content ?? {})) {
        const examples = Object.entries(media.examples ?? {});
        assert.ok(examples.length > 0, `${name} ${status} ${type}: no example`);
        for (const [key, { value }] of examples) {
          const problem = type === 'application/problem+json';
          const schema = problem ? document.components.schemas.Problem : media.schema;
          assert.deepEqual(Errors(schema, value), [], `${name} ${status} ${key}`);
          if (!problem) continue;
          assert.equal((value as { code: string }).code, key);
          assert.equal(ERRORS[key as ErrorCode][0], Number(status), `${name} ${key}`);
        }
      }
    }
    const body = requestBody?.content['application/json'];
    if (body) assert.deepEqual(Errors(body.schema, body.example), [], `${name}: body`);
    else if (requestBody)
      assert.ok(Object.values(requestBody.content).every((media) => media.schema.format === 'binary'));
  }
});

test('the documentation page loads what it needs from here only', async (t) => {
  const { http } = await testApp(t);
  const { text } = await http.get('/docs').expect(200);
  const sources = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url);
  assert.ok(sources.length >= 3);
  for (const url of sources) {
    assert.match(url, /^\/docs\//, url);
    await http.get(url).expect(200);
  }
});
