import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { ServiceError } from '../../src/errors.js';
import { decompress } from '../../src/http/compression.js';
import { BodyShare, BufferedBytes } from '../../src/http/plugins/buffered-bytes.js';

test('who finds nobody else is taken in, others within the bound; each share is given back once', () => {
  let refused = 0;
  const all = new BufferedBytes({ max: 10, status: '429', onRefused: () => refused++ });
  const [a, b] = [new BodyShare(all), new BodyShare(all)];
  a.grow(6);
  a.grow(6);
  assert.equal(all.bytes, 12, 'alone it may pass the bound');
  assert.throws(() => b.grow(1), { code: 'too_many_requests' });
  a.shrink(5);
  b.grow(3);
  assert.throws(
    () => a.grow(1),
    (error: ServiceError) => error.extra.retry_after_s === 1,
  );
  assert.throws(() => b.grow(1));
  assert.equal(refused, 3);
  for (const share of [a, a, b]) share.release();
  assert.equal(all.bytes, 0);
  assert.throws(() => a.grow(1), { code: 'client_closed_request' });
  a.shrink(1);
  assert.equal(all.bytes, 0);
});

test('while it is unpacked a body counts as both, then as what it became; nothing is unpacked for nobody', async () => {
  const unpack = promisify(decompress);
  const all = new BufferedBytes({ max: 1000 });
  const body = Buffer.alloc(900, 'x');
  const packed = gzipSync(body);
  const limits = { maxBytes: 10_000, share: new BodyShare(all) };
  limits.share.grow(packed.length);
  assert.deepEqual(await unpack(packed, 'gzip', limits), body);
  assert.equal(all.bytes, 900);
  const other = new BodyShare(all);
  other.grow(packed.length);
  await assert.rejects(unpack(packed, 'gzip', { ...limits, share: other }), { code: 'overloaded' });
  other.release();
  assert.equal(all.bytes, 900);
  await assert.rejects(unpack(packed, 'gzip', { ...limits, share: other }), { code: 'client_closed_request' });
  limits.share.release();
  assert.equal(all.bytes, 0);
});
