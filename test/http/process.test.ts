import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import supertest from 'supertest';
import { assertProblem } from './answers.js';
import { ServiceProcess } from './service-process.js';
import { PIXELS } from './tiny.js';

/** A prediction whose body stops half way until `finish` is called. */
async function slowPrediction(url: string) {
  const request = httpRequest(`${url}/predict?bits=4`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream', 'content-length': PIXELS, expect: '100-continue' },
  });
  request.flushHeaders();
  // the service has the request once it asks for its body
  await once(request, 'continue');
  request.write(Buffer.alloc(PIXELS / 2));
  const answer = once(request, 'response') as Promise<[IncomingMessage]>;
  answer.catch(() => undefined);
  return { answer, finish: () => request.end(Buffer.alloc(PIXELS / 2)) };
}

test('it starts, says where it is and what the token is, serves, trains, stops', async (t) => {
  const service = await ServiceProcess.start(t);
  const url = await service.ready();
  const http = supertest(url);
  const ready = await http.get('/health/ready').expect(200);
  assert.match(ready.body.engine, /^(native-|reference$)/);
  assert.equal(ready.body.default_model, 'mnist-lenet');

  const body = { instances: [Array(PIXELS).fill(0.5)] };
  const { body: answer } = await http.post('/predict?bits=4&activation_bits=8').send(body).expect(200);
  assert.equal(answer.model, 'mnist-lenet');
  assert.equal(answer.predictions[0].label, 'middle');
  assert.equal(answer.variant.engine, ready.body.engine);
  const { body: budget } = await http.post('/predict?min_accuracy=0.85').send(body).expect(200);
  assert.equal(budget.bits, 8);
  assertProblem(await http.post('/predict?max_memory_kib=0.001').send(body), 'budget_infeasible');

  const [, token] = await service.said(/^admin token of this start: (\S+)/m);
  const authorization = `Bearer ${token}`;
  const train = { model: 'mnist-lenet', epochs: 1, limit: 64, publish: false };
  const { headers } = await http.post('/admin/train').set({ authorization }).send(train).expect(202);
  await http.delete(headers.location).set({ authorization }).expect(202);
  const events = await http.get(`${headers.location}/events`).set({ authorization }).expect(200);
  assert.match(events.text, /"state":"cancelled"/);
  const { text: metrics } = await http.get('/metrics').expect(200);
  assert.match(metrics, /^bitdial_jobs\{state="cancelled"\} 1$/m);
  assert.match(metrics, /^bitdial_instances_total\{model="mnist-lenet",bits="4",activation_bits="8"\} 1$/m);
  assert.match(metrics, /^bitdial_variant_cache_bytes [1-9]/m);

  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
  for (const line of service.stdout.trim().split('\n')) JSON.parse(line);
  assert.ok(!service.stdout.includes(token), 'the token is in the log');
});

test('SIGTERM lets a request in flight end, takes no more, and exits 0', async (t) => {
  const service = await ServiceProcess.start(t, { ADMIN_TOKEN: 'mine' });
  const url = await service.ready();
  const { answer, finish } = await slowPrediction(url);
  service.child.kill('SIGTERM');
  await refused(url);
  finish();
  const [response] = await answer;
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers.connection, 'close');
  assert.equal(JSON.parse(await text(response)).bits, 4);
  assert.deepEqual(await service.exit, [0, null]);
  assert.doesNotMatch(service.stderr, /admin token/);
});

test('a stop while it starts is an exit of its own, as the first process of a container has to make', async (t) => {
  // a Redis that says nothing: the start waits for it
  const silent = createServer().listen(0, '127.0.0.1');
  const connected = once(silent, 'connection') as Promise<[Socket]>;
  await once(silent, 'listening');
  t.after(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const service = await ServiceProcess.start(t, { REDIS_URL: `redis://127.0.0.1:${port}` });
  const [connection] = await connected;
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [143, null]);
  connection.destroy();
});

test('what is not done when the drain is over is cut', async (t) => {
  const service = await ServiceProcess.start(t, { DRAIN_MS: '100' });
  const { answer } = await slowPrediction(await service.ready());
  service.child.kill('SIGTERM');
  await assert.rejects(answer);
  assert.deepEqual(await service.exit, [0, null]);
  assert.match(service.stdout, /still in flight/);
});

test('a second signal exits at once', async (t) => {
  const service = await ServiceProcess.start(t, { DRAIN_MS: '600000' });
  const url = await service.ready();
  const { answer } = await slowPrediction(url);
  service.child.kill('SIGTERM');
  await refused(url);
  service.child.kill('SIGINT');
  assert.deepEqual(await service.exit, [130, null]);
  await assert.rejects(answer);
});

test('wrong settings, a taken port, a bad energy table: words and exit 1', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const cases: [Record<string, string>, RegExp][] = [
    [{ PORT: 'many', MAX_BATCH: '0' }, /PORT: expected a whole number.*"many"\n.*MAX_BATCH: expected.*"0"/],
    [{ PORT: String(port) }, new RegExp(`port ${port} of 127.0.0.1 is in use; set PORT`)],
    [{ HOST: '192.0.2.1' }, /no address 192\.0\.2\.1; set HOST/],
    [{ ENERGY_TABLE: '/nowhere.json' }, /nowhere\.json/],
    [{ ROLE: 'serve' }, /REDIS_URL: expected a Redis server.* as ROLE is serve, got nothing/],
    [{ REDIS_URL: 'localhost:6379' }, /REDIS_URL: expected redis:\/\/host:port/],
    [{ ADMIN_TOKEN: 'two words' }, /ADMIN_TOKEN: expected tokens between commas, got spaces/],
    [{ ADMIN_TOKEN: 'one,,three' }, /ADMIN_TOKEN: expected tokens between commas, got nothing as number 2/],
    [{ ADMIN_TOKEN_FILE: '/nowhere' }, /ADMIN_TOKEN_FILE: .*nowhere/],
    [{ TRUST_PROXY: 'true' }, /TRUST_PROXY: expected addresses or networks between commas.*"true"/],
  ];
  for (const [env, words] of cases) {
    const service = await ServiceProcess.start(t, env);
    assert.deepEqual(await service.exit, [1, null], JSON.stringify(env));
    assert.match(service.stderr, words);
    assert.doesNotMatch(service.stderr, /^\s+at /m, 'a stack is no message');
  }
});

test('without a model it is live but not ready, and says why', async (t) => {
  const service = await ServiceProcess.start(t, { DEFAULT_MODEL: 'other', PORT: '0' });
  await service.said(/not ready yet: .*other/);
  const url = await listening(service);
  await supertest(url).get('/health/live').expect(200);
  const problem = assertProblem(await supertest(url).get('/health/ready'), 'not_ready');
  assert.match(problem.detail as string, /other/);
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.exit, [0, null]);
});

/** Resolves when the service takes no new connections. */
async function refused(url: string): Promise<void> {
  for (;;) {
    try {
      await fetch(`${url}/health/live`, { headers: { connection: 'close' } });
    } catch {
      return;
    }
  }
}

async function listening(service: ServiceProcess): Promise<string> {
  for (;;) {
    const url = /Server listening at (http:[^"]+)/.exec(service.stdout)?.[1];
    if (url) return url;
    await once(service.child.stdout as never, 'data');
  }
}
