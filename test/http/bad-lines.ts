/** What a line of bad-input.test.ts is, and the words it is written in. */
import type { Test } from 'supertest';
import type { ErrorCode } from '../../src/errors.js';
import { AUTHORIZATION, type TestApp } from './app.js';
import { PIXELS } from './tiny.js';

type Http = TestApp['http'];
/** The expressions find what was expected and what came in the detail. */
export type Line = [
  name: string,
  send: (http: Http) => Test,
  code: ErrorCode,
  field: string | null,
  ...detail: RegExp[],
];

export const flat = Array<number>(PIXELS).fill(0.5);
export const JSON_TYPE = 'application/json';
export const RAW = 'application/octet-stream';
export const post = (query: string, type: string, body: string | Buffer) => (http: Http) =>
  http.post(`/predict${query}`).set('content-type', type).send(body);
export const json = (body: string, query = '') => post(query, JSON_TYPE, body);
export const query = (text: string) => json(JSON.stringify({ instances: [flat] }), text);
export const raw = (length: number, text = '') => post(text, RAW, Buffer.alloc(length, 1));
export const admin = (method: 'post' | 'delete' | 'get', path: string, body?: unknown) => (http: Http) => {
  const sent = http[method](`/admin${path}`).set('authorization', AUTHORIZATION);
  return body === undefined ? sent : sent.set('content-type', JSON_TYPE).send(JSON.stringify(body));
};
export const upload =
  (query: string, body = 'x', type = 'application/x-tar') =>
  (http: Http) =>
    http.post(`/admin/datasets${query}`).set('authorization', AUTHORIZATION).set('content-type', type).send(body);
