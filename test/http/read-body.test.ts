import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { FastifyRequest } from 'fastify';
import { Gathered, readBody } from '../../src/http/plugins/read-body.js';
import { assertProblem } from './answers.js';
import { testApp } from './app.js';

const RAW = 'application/octet-stream';

/** Bytes that tell where they stood. */
const pattern = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8)));

/** Pieces of these lengths, by turns, of a text. */
function* pieces(bytes: Buffer, ...lengths: number[]): Generator<Buffer> {
  for (let [at, i] = [0, 0]; at < bytes.length; i++) {
    yield bytes.subarray(at, at + lengths[i % lengths.length]);
    at += lengths[i % lengths.length];
  }
}

test('pieces of any length come together in order, and in few buffers', () => {
  const bytes = pattern(300_001);
  for (const lengths of [[1], [3, 70_000, 1], [65_536], [65_537], [200_000], [300_001]]) {
    const gathered = new Gathered(65_536);
    for (const piece of pieces(bytes, ...lengths)) gathered.add(piece);
    assert.equal(gathered.length, bytes.length);
    assert.equal(gathered.blocks, 5, `${lengths}: as many as 64 KiB blocks hold them`);
    assert.deepEqual(gathered.whole(), bytes, `${lengths}`);
  }
  const known = new Gathered(bytes.length);
  for (const piece of pieces(bytes, 1000)) known.add(piece);
  assert.equal(known.blocks, 1);
  assert.deepEqual(known.whole(), bytes);
  assert.equal(new Gathered(10).whole().length, 0);
});

test('the pieces are copied: a buffer that is used again changes nothing', () => {
  const gathered = new Gathered(4);
  const piece = Buffer.from('body');
  gathered.add(piece);
  piece.fill(0);
  assert.equal(String(gathered.whole()), 'body');
});

test('nothing of a body is heard any more once it was refused or is whole', async () => {
  const cases: [headers: Record<string, string>, sent: string[], code: string | null][] = [
    [{ 'content-length': '4' }, ['bo', 'dy'], null],
    [{}, ['bo', 'dy'], null],
    [{ 'content-length': '5' }, ['bo', 'dy'], 'bad_request'],
    [{ 'content-length': '3' }, ['bo', 'dy'], 'bad_request'],
    [{ 'content-length': '11' }, [], 'body_too_large'],
    [{}, ['bodies', 'bodies'], 'body_too_large'],
  ];
  for (const [headers, sent, code] of cases) {
    const payload = new PassThrough();
    const answers: unknown[] = [];
    readBody({ headers } as unknown as FastifyRequest, payload, 10, (error, body) =>
      answers.push(error ?? String(body)),
    );
    for (const piece of sent) payload.write(piece);
    payload.end();
    await new Promise((resolve) => payload.resume().once('close', resolve));
    assert.equal(answers.length, 1, JSON.stringify([headers, sent]));
    if (code === null) assert.equal(answers[0], 'body');
    else assert.equal((answers[0] as { code: string }).code, code);
    assert.equal(payload.listenerCount('data') + payload.listenerCount('error'), 0);
  }
});

test('a stream that breaks off is a part of a body', async () => {
  const payload = new PassThrough();
  const broken = new Promise<Error | null>((resolve) =>
    readBody({ headers: {} } as unknown as FastifyRequest, payload, 10, resolve),
  );
  payload.write('bo');
  payload.destroy(new Error('aborted'));
  assert.equal(((await broken) as Error & { code: string }).code, 'bad_request');
});

test('a chunked body is whole however it was cut, and may be as large as one whose length is known', async (t) => {
  const { http, service } = await testApp(t, { config: { maxBodyBytes: 100_000 } });
  const bytes = pattern(100_000);
  const send = (body: Buffer, ...lengths: number[]) => {
    const request = http.post('/predict').set('content-type', RAW).set('transfer-encoding', 'chunked');
    for (const piece of pieces(body, ...lengths)) request.write(piece as never);
    return request;
  };
  for (const lengths of [[1, 2], [99_999], [7000, 1]]) {
    await send(bytes, ...lengths).expect(200);
    const { body } = service.requests.at(-1) as { body: { bytes?: Uint8Array } };
    assert.deepEqual(body.bytes, bytes, `${lengths}`);
  }
  const { expected } = assertProblem(await send(pattern(100_001), 5000), 'body_too_large');
  assert.equal(expected, 'at most 100000 bytes');
});
