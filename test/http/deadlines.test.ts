/** Clients that take their time: bodies that do not arrive, connections that nobody closes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createLogger } from '../../src/http/plugins/logging.js';
import { Metrics } from '../../src/http/plugins/metrics.js';
import { createServer } from '../../src/http/server.js';
import type { App } from '../../src/http/types.js';

const TYPE = 'application/x-tar';
/** More bytes than anybody waits for. */
const ENDLESS = 100_000;
/** What does not end by itself fails. */
const GUARD = { timeout: 30_000 };

/** A bare server that soon loses patience. */
async function hastyServer(t: TestContext): Promise<App> {
  const limits = { maxBodyBytes: 1_000_000, trustProxy: '' };
  const deadlines = { bodyMs: 100, idleMs: 100 };
  const server = createServer(limits, createLogger('silent'), new Metrics(), null, deadlines);
  t.after(() => {
    server.server.closeAllConnections();
    return server.close();
  });
  server.addContentTypeParser(TYPE, (_request, payload, done) => done(null, payload));
  const take = async (request: { body: unknown }) => {
    let bytes = 0;
    for await (const chunk of request.body as AsyncIterable<Buffer>) bytes += chunk.length;
    return String(bytes);
  };
  server.post('/upload', { config: { upload: true } }, take);
  server.post('/body', take);
  server.post('/early', async () => 'early');
  await server.listen({ port: 0, host: '127.0.0.1' });
  return server;
}

const post = (path: string, length: number, ...headers: string[]) =>
  [`POST ${path} HTTP/1.1`, 'host: x', `content-type: ${TYPE}`, `content-length: ${length}`, ...headers, '', ''].join(
    '\r\n',
  );

/** Sends a text, then so many bytes, one every 25 ms, and closes nothing; what came until the server had closed its side. */
async function sendSlowly(server: App, text: string, bytes = 0): Promise<string> {
  const { port } = server.server.address() as AddressInfo;
  const accepted = once(server.server, 'connection') as Promise<[Socket]>;
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let answer = '';
  let left = bytes;
  socket.on('data', (data) => (answer += data)).on('error', () => undefined);
  socket.write(text);
  const timer = setInterval(() => left-- > 0 && socket.write('x'), 25);
  const over = new Promise<void>((resolve) => socket.on('end', resolve).on('close', resolve));
  const [served] = await accepted;
  await Promise.all([over, served.closed || once(served, 'close')]);
  clearInterval(timer);
  socket.destroy();
  return answer;
}

const codeOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('{'))).code;

test('a body that does not arrive is answered, an upload that goes on is not', GUARD, async (t) => {
  const server = await hastyServer(t);
  const whole = await sendSlowly(server, post('/upload', 12, 'connection: close'), 12);
  assert.match(whole, /^HTTP\/1.1 200 [\s\S]*12$/);
  const stalled = await sendSlowly(server, post('/upload', 12), 1);
  const slow = await sendSlowly(server, post('/body', ENDLESS), ENDLESS);
  for (const answer of [stalled, slow]) {
    assert.match(answer, /^HTTP\/1.1 408 /);
    assert.equal(codeOf(answer), 'request_timeout');
    const [, id] = /^x-request-id: (\S+)\r$/m.exec(answer) ?? [];
    assert.equal(JSON.parse(answer.slice(answer.indexOf('{'))).instance, id);
  }
});

test('nor is one waited for that nobody wants, and one answer is enough', GUARD, async (t) => {
  const server = await hastyServer(t);
  const cases: [path: string, status: number][] = [
    ['/early', 200],
    ['/nothing', 404],
    // refused before any hook of a route or of the server
    ['/%zz', 400],
  ];
  for (const [path, status] of cases) {
    const answer = await sendSlowly(server, post(path, ENDLESS), ENDLESS);
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), path);
    assert.equal(answer.match(/^HTTP\/1.1 /gm)?.length, 1, `${path}: ${answer}`);
  }
});

test('an expectation that nobody knows is refused, whatever of the body comes', GUARD, async (t) => {
  const server = await hastyServer(t);
  const answer = await sendSlowly(server, post('/body', ENDLESS, 'expect: a miracle'), ENDLESS);
  assert.match(answer, /^HTTP\/1.1 400 /);
  assert.equal(codeOf(answer), 'bad_request');
});

test('a client that never closes its side does not keep the socket', GUARD, async (t) => {
  const server = await hastyServer(t);
  assert.equal(codeOf(await sendSlowly(server, 'NONSENSE\r\n\r\n')), 'bad_request');
  const header = `x: ${'y'.repeat(20_000)}`;
  assert.equal(codeOf(await sendSlowly(server, post('/body', 0, header))), 'headers_too_large');
});
