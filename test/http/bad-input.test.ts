/** Everything a client can get wrong, one line each: a 4xx problem that says what was expected and what came. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Response } from 'supertest';
import { assertProblem } from './answers.js';
import { servingApp, type TestApp } from './app.js';
import { BODIES } from './bad-bodies.js';
import { IMPORTS } from './bad-imports.js';
import { type Line, query, RAW } from './bad-lines.js';
import { QUERIES } from './bad-queries.js';
import { ROUTES } from './bad-routes.js';

const LINES = [...BODIES, ...QUERIES, ...ROUTES, ...IMPORTS];

describe('bad input', () => {
  let app: TestApp<unknown>;
  const ends: (() => unknown)[] = [];
  // one app for the whole table, so that what a request leaves behind meets the next
  before(async () => {
    app = await servingApp({ after: (end: () => unknown) => ends.push(end) } as never, {
      config: { maxBodyBytes: 1048576 },
    });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  for (const [name, send, code, field, ...detail] of LINES) {
    test(name, async () => {
      const response: Response = await send(app.http);
      const problem = assertProblem(response, code, name);
      for (const part of detail) assert.match(problem.detail as string, part);
      if (field) assert.equal(problem.field, field);
      if (code === 'method_not_allowed') assert.equal(response.headers.allow, 'POST');
    });
  }

  test('after all of it the service answers, and has met nothing unexpected', async () => {
    await query('?bits=4')(app.http).expect(200);
    const { text } = await app.http.get('/metrics').expect(200);
    assert.ok(!/status="5/.test(text), text.match(/.*status="5.*/)?.[0]);
    assert.match(
      text,
      /bitdial_requests_total\{method="POST",route="\/predict",status="400",code="invalid_field",bits=""\} \d+/,
    );
  });

  for (const [name, headers] of [
    ['a length that is announced', { 'content-length': 100 * 1024 * 1024 }],
    ['chunks', { 'transfer-encoding': 'chunked' }],
  ] as const) {
    test(`a 100 MB body with ${name} is refused, read to its end, and never held`, async () => {
      const { port } = app.app.server.address() as AddressInfo;
      collectGarbage();
      const before = process.memoryUsage().arrayBuffers;
      let most = 0;
      const status = await new Promise<number>((resolve, reject) => {
        const options = { port, host: '127.0.0.1', path: '/predict', method: 'POST' };
        const request = httpRequest({ ...options, headers: { 'content-type': RAW, ...headers } }, (response) => {
          response.resume();
          finished.then(() => resolve(response.statusCode ?? 0));
        });
        request.on('error', reject);
        const finished = once(request, 'finish');
        const chunk = Buffer.alloc(1024 * 1024);
        let left = 100;
        const write = (): void => {
          // what was read and waits to be collected is not held
          if (left % 10 === 0) {
            collectGarbage();
            most = Math.max(most, process.memoryUsage().arrayBuffers - before);
          }
          if (left-- === 0) request.end();
          else request.write(chunk, write);
        };
        write();
      });
      assert.equal(status, 413);
      assert.ok(most < 40 * 1024 * 1024, `${most} bytes were held`);
      await query('?bits=4')(app.http).expect(200);
    });
  }

  test('thousands of bad requests leave no memory behind', { timeout: 120_000 }, async () => {
    const quick = LINES.filter(([name]) => !/^(deep|a body over|too many raw)/.test(name));
    const { app: server } = app;
    // injected, as sockets are no part of the question
    const inject = async ([name, send]: Line): Promise<void> => {
      const { method, url, header, _data } = send(app.http) as unknown as Sent;
      const path = new URL(url).pathname + new URL(url).search;
      const response = await server.inject({ method: method as 'POST', url: path, headers: header, payload: _data });
      assert.ok(response.statusCode >= 400 && response.statusCode < 500, `${name}: ${response.statusCode}`);
    };
    const used = async (rounds: number): Promise<number> => {
      for (let i = 0; i < rounds; i++) for (const line of quick) await inject(line);
      // what has ended first, and then the collector's own thread, which gives buffers back a little later
      for (let i = 0; i < 2; i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        collectGarbage();
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    await used(5);
    const before = await used(1);
    const after = await used(25);
    assert.ok(after - before < 3 * 1024 * 1024, `${25 * quick.length} bad requests left ${after - before} bytes`);
  });
});

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** What superagent has of a request before it is sent. */
interface Sent {
  method: string;
  url: string;
  header: Record<string, string>;
  _data: string | Buffer | undefined;
}
