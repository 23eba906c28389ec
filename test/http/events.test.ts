import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertProblem } from './answers.js';
import { AUTHORIZATION, type TestApp, testApp } from './app.js';

/** An event stream as a client reads it. */
class Follower {
  text = '';
  ended: Promise<unknown>;
  private constructor(
    readonly request: ClientRequest,
    readonly response: IncomingMessage,
  ) {
    response.setEncoding('utf8').on('data', (chunk: string) => {
      this.text += chunk;
    });
    this.ended = once(response, 'close');
    this.ended.catch(() => undefined);
  }

  static async open(
    t: TestContext,
    { app }: TestApp,
    id: string,
    headers: Record<string, string> = {},
  ): Promise<Follower> {
    const { port } = app.server.address() as AddressInfo;
    const request = httpRequest({
      port,
      path: `/admin/jobs/${id}/events`,
      headers: { authorization: AUTHORIZATION, ...headers },
    });
    request.on('error', () => undefined).end();
    t.after(() => request.destroy());
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Follower(request, response);
  }

  get events(): { id: number; event: string; data: Record<string, unknown> }[] {
    const frames = this.text.split('\n\n').filter((frame) => frame.startsWith('id: '));
    return frames.map((frame) => {
      const fields = Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/s, 2)));
      return { id: Number(fields.id), event: fields.event, data: JSON.parse(fields.data) };
    });
  }

  async until(check: (follower: Follower) => boolean): Promise<void> {
    for (let i = 0; i < 500 && !check(this); i++) await sleep(10);
    assert.ok(check(this), this.text);
  }
}

async function accepted({ http }: TestApp): Promise<string> {
  const { body } = await http
    .post('/admin/train')
    .set('authorization', AUTHORIZATION)
    .send({ model: 'mine' })
    .expect(202);
  return body.job.id;
}

test('a stream tells the past, then what happens, and ends with the job', async (t) => {
  const app = await testApp(t);
  const id = await accepted(app);
  const follower = await Follower.open(t, app, id);
  assert.equal(follower.response.statusCode, 200);
  assert.match(follower.response.headers['content-type'] ?? '', /^text\/event-stream/);
  assert.equal(follower.response.headers['cache-control'], 'no-store');
  await follower.until(({ events }) => events.length === 1);
  assert.match(follower.text, /^retry: \d+\n\n/);
  app.queue.move(id, 'running');
  app.queue.move(id, 'running', 'progress');
  await follower.until(({ events }) => events.length === 3);
  app.queue.move(id, 'succeeded');
  await follower.ended;
  assert.deepEqual(
    follower.events.map(({ id, event, data }) => [id, event, data.state]),
    [
      [1, 'state', 'queued'],
      [2, 'state', 'running'],
      [3, 'progress', 'running'],
      [4, 'state', 'succeeded'],
    ],
  );
  assert.equal(app.queue.open, 0);
});

test('Last-Event-ID resumes after that event; after the last of an ended job there is nothing to come back for', async (t) => {
  const app = await testApp(t);
  const id = await accepted(app);
  for (const state of ['running', 'succeeded'] as const) app.queue.move(id, state);
  const resumed = await Follower.open(t, app, id, { 'last-event-id': '1' });
  await resumed.ended;
  assert.deepEqual(
    resumed.events.map((e) => e.id),
    [2, 3],
  );
  const url = `/admin/jobs/${id}/events`;
  const get = (last: string) => app.http.get(url).set('authorization', AUTHORIZATION).set('Last-Event-ID', last);
  await get('3').expect(204);
  const wrong = assertProblem(await get('three'), 'invalid_field');
  assert.equal(wrong.detail, 'last-event-id: expected the id of an event (a whole number), got "three"');
  assert.equal(app.queue.open, 0);
});

test('comments keep a quiet stream alive, and a client that goes away frees it', async (t) => {
  const app = await testApp(t, { heartbeatMs: 10 });
  const id = await accepted(app);
  const [first, second] = [await Follower.open(t, app, id), await Follower.open(t, app, id)];
  await first.until(({ text }) => (text.match(/^: /gm) ?? []).length >= 2);
  assert.equal(app.queue.open, 2);
  first.request.destroy();
  for (let i = 0; i < 200 && app.queue.open > 1; i++) await sleep(10);
  assert.equal(app.queue.open, 1);
  app.queue.move(id, 'cancelled');
  await second.ended;
  assert.equal(app.queue.open, 0);
});

/** The queue looks a job up when `until` has come; resolves when it is asked to. */
function slowLookUp({ queue }: TestApp, until: Promise<unknown>): Promise<void> {
  const get = queue.get.bind(queue);
  return new Promise((resolve) => {
    queue.get = async (id) => {
      resolve();
      await until;
      return get(id);
    };
  });
}

test('a client that is gone before its stream begins leaves nothing open', async (t) => {
  const app = await testApp(t, { heartbeatMs: 10 });
  const id = await accepted(app);
  const gone = new Promise<void>((resolve) => {
    app.app.server.once('request', (_request, response) => response.once('close', resolve));
  });
  const asked = slowLookUp(app, gone);
  const { port } = app.app.server.address() as AddressInfo;
  const path = `/admin/jobs/${id}/events`;
  const request = httpRequest({ port, path, headers: { authorization: AUTHORIZATION } }).end();
  request.on('error', () => undefined);
  await asked;
  request.destroy();
  await gone;
  // some turns for what the look-up's answer would begin
  await sleep(100);
  assert.equal(app.queue.open, 0);
});

test('a stream that is asked for while the app closes holds it up no longer than one that is open', async (t) => {
  const app = await testApp(t);
  const id = await accepted(app);
  let begin = (): void => undefined;
  const closing = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const asked = slowLookUp(app, closing);
  const following = Follower.open(t, app, id);
  await asked;
  const closed = app.app.close();
  // the hooks before the close have run when nobody is listened to any more
  while (app.app.server.listening) await sleep(5);
  begin();
  const follower = await following;
  await Promise.all([follower.ended, closed]);
  assert.match(follower.text, /^retry: \d+\n\n$/);
  assert.equal(app.queue.open, 0);
});

test('a client that does not read holds back the reading of more', async (t) => {
  const app = await testApp(t);
  const id = await accepted(app);
  const follower = await Follower.open(t, app, id);
  follower.response.pause();
  // 30 MB, more than the sockets take in
  (await app.queue.get(id)).progress.phase = 'x'.repeat(1000);
  for (let i = 0; i < 30_000; i++) app.queue.move(id, 'running', 'progress');
  await sleep(300);
  assert.ok(app.queue.read < 25_000, `${app.queue.read} of 30000 events were read for a client that takes none`);
  follower.response.resume();
  app.queue.move(id, 'failed');
  await follower.ended;
  assert.equal(follower.events.length, 30_002);
});

test('closing the app ends the streams', async (t) => {
  const app = await testApp(t);
  const follower = await Follower.open(t, app, await accepted(app));
  await follower.until(({ events }) => events.length === 1);
  await app.app.close();
  await follower.ended;
  assert.equal(app.queue.open, 0);
});

test('an unknown job and a missing token are problems, not streams', async (t) => {
  const { http } = await testApp(t);
  assertProblem(await http.get('/admin/jobs/nope/events').set('authorization', AUTHORIZATION), 'job_not_found');
  assertProblem(await http.get('/admin/jobs/nope/events'), 'unauthorized');
});
