/** What every answer has to keep, whatever the test is about. */
import assert from 'node:assert/strict';
import type { Response } from 'supertest';
import { Check } from 'typebox/value';
import { ERRORS, type ErrorCode } from '../../src/errors.js';
import { Problem } from '../../src/http/schemas/responses.js';

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
