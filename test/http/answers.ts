/** What every answer has to keep, whatever the test is about. */
import assert from 'node:assert/strict';
import type { Response } from 'supertest';
import { Check, Errors } from 'typebox/value';
import { ERRORS, type ErrorCode } from '../../src/errors.js';
import { Problem } from '../../src/http/schemas/responses.js';
import type { App } from '../../src/http/types.js';

/** A well-formed problem document of this code; gives it back for more. */
export function assertProblem(response: Response, code: ErrorCode, name = code as string): Record<string, unknown> {
  const text = response.text.slice(0, 500);
  assert.equal(response.status, ERRORS[code][0], `${name}: ${text}`);
  assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json/, name);
  const body = JSON.parse(response.text) as Record<string, unknown>;
  assert.ok(Check(Problem, body), `${name}: not a problem document: ${text}`);
  assert.equal(body.code, code, `${name}: ${text}`);
  assert.equal(body.title, ERRORS[code][1]);
  assert.equal(body.status, response.status);
  assert.equal(body.instance, response.headers['x-request-id'], `${name}: the request id is the instance`);
  assert.ok(!/\bat .+:\d+:\d+|node_modules|node:internal/.test(response.text), `${name}: a stack leaked: ${text}`);
  return body;
}

/** The answer has a documented status, and its body the documented shape. */
export function assertAnswer(app: App, response: Response, method: 'get' | 'post' | 'delete', path: string): void {
  const document = app.swagger() as unknown as Document;
  const documented = document.paths[path]?.[method]?.responses[response.status];
  assert.ok(documented, `${method} ${path} ${response.status} is not documented`);
  const schema = documented.content?.['application/json']?.schema;
  if (!schema) return;
  const faults = Errors(closed(schema), response.body).map((e) => `${e.instancePath} ${e.message}`);
  assert.deepEqual(faults, [], `${method} ${path} ${response.status}: ${response.text.slice(0, 300)}`);
}

interface Document {
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: Schema }> }> }>
  >;
}
type Schema = { [key: string]: unknown };

/** The schema without room for fields that it does not list. */
function closed(schema: unknown): Schema {
  if (Array.isArray(schema)) return schema.map(closed) as never;
  if (typeof schema !== 'object' || schema === null) return schema as never;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return 'properties' in copy && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy;
}
