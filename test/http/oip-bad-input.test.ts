/** Everything a client of the protocol can get wrong, one line each: a 4xx and `{"error"}` with what was expected and came. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { servingApp, type TestApp } from './app.js';
import { BAD_LINES } from './bad-inference.js';

describe('bad input of the Open Inference Protocol', () => {
  let app: TestApp<unknown>;
  const ends: (() => unknown)[] = [];
  before(async () => {
    app = await servingApp({ after: (end: () => unknown) => ends.push(end) } as never, {
      config: { maxBodyBytes: 65536 },
    });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  for (const [name, { method = 'GET', ...request }, status, ...expressions] of BAD_LINES) {
    test(name, async () => {
      const response = await app.app.inject({ method, ...request });
      assert.equal(response.statusCode, status, response.payload);
      assert.match(response.headers['content-type'] as string, /^application\/json/);
      const body = response.json() as { error: string };
      assert.deepEqual(Object.keys(body), ['error']);
      for (const expression of expressions) assert.match(body.error, expression);
      assert.ok(body.error.length < 600 && !/node_modules|\bat .+:\d+:\d+/.test(body.error), body.error);
    });
  }

  test('paths beside it have problem documents', async () => {
    for (const url of ['/v20', '/v', '/models/nothing']) {
      const { headers } = await app.app.inject({ url });
      assert.match(headers['content-type'] as string, /^application\/problem\+json/, url);
    }
  });

  test('after all of it the service answers, and has met nothing unexpected', async () => {
    const { text } = await app.http.get('/metrics').expect(200);
    assert.ok(!/status="5/.test(text), text.match(/.*status="5.*/)?.[0]);
    assert.match(
      text,
      /bitdial_requests_total\{method="POST",route="\/v2\/models\/:model\/infer",status="400",code="wrong_/,
    );
    const data = Array(16).fill(0.5);
    const body = { inputs: [{ name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data }] };
    await app.http.post('/v2/models/tiny/infer').send(body).expect(200);
  });
});
