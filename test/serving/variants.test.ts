import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { type Precision, precisionKey, STANDARD_PRECISIONS, type Width } from '../../src/quantize/precision.js';
import type { ServingObserver } from '../../src/serving/request.js';
import { type Lease, VariantCache, type VersionId } from '../../src/serving/variants.js';
import { Random } from '../support/random.js';
import { FakeEngine, FakeStore, Gate, makeVersion, refused, settle } from './fixtures.js';

const version = makeVersion();
const source = () => new FakeStore([version]).source(version);
const at = (bits: Width): Precision => ({ weightBits: bits, activationBits: bits });

/** A cache whose variants hold ten bytes for each weight bit. */
function makeCache(maxBytes: number, options: { waitMs?: number; observer?: ServingObserver } = {}) {
  const engine = new FakeEngine();
  engine.bytesOf = (_, precision) => precision.weightBits * 10;
  const cache = new VariantCache({ engine, maxBytes, waitMs: 20, ...options });
  const acquire = (bits: Width, id: VersionId = version, expected = bits * 10) =>
    cache.acquire(id, at(bits), source, expected);
  const use = async (bits: Width, id: VersionId = version) => (await acquire(bits, id)).release();
  const resident = () => cache.list().map((v) => precisionKey(v.variant.precision));
  return { engine, cache, acquire, use, resident };
}

test('a hundred first requests at once build once', async () => {
  const { engine, cache, acquire } = makeCache(100);
  const gate = new Gate();
  engine.onBuild = () => gate.passed;
  const leases = Promise.all(Array.from({ length: 100 }, () => acquire(4)));
  await settle();
  assert.equal(cache.bytes, 40, 'the bytes are taken while it is being built');
  assert.deepEqual(cache.list(), [], 'what is being built is not listed');
  gate.open();
  const got = await leases;
  assert.deepEqual(engine.builds, ['4x4']);
  assert.ok(got.every((lease) => lease.variant === got[0].variant && !lease.cached));
  assert.equal(cache.list()[0].inUse, 100);
  assert.equal(cache.list()[0].hits, 0);
  for (const lease of got) {
    lease.release();
    lease.release(); // counts once
  }
  assert.equal(cache.list()[0].inUse, 0);
  const again = await acquire(4);
  assert.ok(again.cached);
  assert.equal(cache.list()[0].hits, 1);
});

test('a failed build rejects all who wait with the same error and is not kept', async () => {
  const { engine, cache, acquire } = makeCache(100);
  const boom = new Error('boom');
  engine.onBuild = () => Promise.reject(boom);
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquire(4)));
  assert.ok(results.every((r) => r.status === 'rejected' && r.reason === boom));
  assert.equal(engine.builds.length, 1);
  assert.equal(cache.bytes, 0);
  engine.onBuild = () => {};
  const lease = await acquire(4);
  assert.equal(engine.builds.length, 2);
  assert.equal(lease.cached, false);
});

test('a source that cannot be read fails like a build', async () => {
  const { engine, cache } = makeCache(100);
  const gone = new ServiceError('bad_model', 'the folder is gone');
  await assert.rejects(
    cache.acquire(version, at(4), () => Promise.reject(gone), 40),
    gone,
  );
  assert.equal(cache.bytes, 0);
  assert.equal(engine.builds.length, 0);
});

test('the least recently used goes first', async () => {
  const { engine, cache, use, resident } = makeCache(100);
  await use(2);
  await use(3);
  await use(4);
  await use(2); // now 3 is the oldest
  await use(5); // 20 + 30 + 40 + 50: drop 3 and 4
  assert.deepEqual(resident(), ['2x2', '5x5']);
  assert.equal(cache.bytes, 70);
  assert.equal(engine.liveBytes, 70);
  assert.equal(engine.released, 2);
  await use(3);
  assert.deepEqual(resident(), ['2x2', '5x5', '3x3'], 'no more is dropped than has to be');
});

test('recency is the end of use too', async () => {
  const { acquire, use, resident } = makeCache(100);
  const lease = await acquire(2);
  await use(3);
  lease.release();
  await use(6);
  assert.deepEqual(resident(), ['2x2', '6x6']);
});

test('versions do not share variants', async () => {
  const { engine, use } = makeCache(100);
  await use(4);
  await use(4, { model: 'toy', version: 2, digest: 'other' });
  assert.equal(engine.builds.length, 2);
});

test('a variant in use is never dropped: who needs its room waits, and gets it when the lease ends', async () => {
  const { engine, acquire, resident } = makeCache(100, { waitMs: 60_000 });
  const lease = await acquire(6);
  const waiting = acquire(7);
  await settle();
  assert.deepEqual(resident(), ['6x6']);
  assert.deepEqual(engine.builds, ['6x6'], 'nothing is built before there is room for it');
  lease.release();
  assert.equal((await waiting).variant.precision.weightBits, 7);
  assert.deepEqual(resident(), ['7x7']);
});

test('when nothing comes free in time the request is turned away, and idle variants are kept', async () => {
  const { acquire, use, resident } = makeCache(100);
  await use(2);
  await acquire(6);
  const error = await refused(acquire(7), 'overloaded');
  assert.equal(error.extra.retry_after_s, 1);
  assert.deepEqual(resident(), ['2x2', '6x6'], 'dropping 2x2 would not have been enough');
});

test('a variant larger than the whole bound is refused before it is built, naming both numbers', async () => {
  const { engine, use, acquire, resident } = makeCache(100);
  await use(2);
  const error = await refused(acquire(16), 'variant_too_large');
  assert.deepEqual([error.extra.actual, error.extra.expected], [160, 100]);
  assert.match(error.message, /160.*100/);
  assert.deepEqual(engine.builds, ['2x2']);
  assert.deepEqual(resident(), ['2x2']);
});

test('where the size is only known after the build, the bound holds for what is admitted', async () => {
  const { engine, cache, acquire, use, resident } = makeCache(100);
  await use(4);
  (await acquire(7, version, 0)).release();
  assert.deepEqual(resident(), ['7x7']);
  await refused(acquire(16, version, 5), 'variant_too_large');
  assert.equal(engine.liveBytes, 70);
  (await acquire(3, version, 90)).release(); // smaller than expected: the rest is given back
  assert.equal(cache.bytes, 30);
  assert.equal(engine.liveBytes, 30);
});

test('drop takes the idle variants of one model only', async () => {
  const events: unknown[] = [];
  const { cache, acquire, use, resident } = makeCache(1000, {
    observer: { onVariantEvicted: (e) => events.push(e) },
  });
  await use(2);
  const lease = await acquire(3);
  await use(4, { model: 'other', version: 1, digest: 'o' });
  assert.deepEqual(cache.drop('toy'), { dropped: 1, bytes: 20 });
  assert.deepEqual(resident(), ['3x3', '4x4']);
  assert.deepEqual(events, [{ model: 'toy', bytes: 20, reason: 'dropped' }]);
  lease.release();
  assert.deepEqual(cache.drop('toy'), { dropped: 1, bytes: 30 });
  assert.deepEqual(cache.drop('toy'), { dropped: 0, bytes: 0 });
});

test('dropping makes room for who waits', async () => {
  const { cache, acquire, resident } = makeCache(100, { waitMs: 60_000 });
  const lease = await acquire(6);
  const waiting = acquire(7);
  const behind = acquire(2);
  await settle();
  cache.drop('toy');
  lease.release();
  for (const held of await Promise.all([waiting, behind])) held.release();
  assert.deepEqual(resident(), ['7x7', '2x2']);
});

test('close releases everything: idle at once, the rest with its last lease', async () => {
  const { engine, cache, acquire, use } = makeCache(1000);
  await use(2);
  const lease = await acquire(3);
  cache.close();
  assert.equal(engine.liveBytes, 30);
  lease.release();
  assert.equal(engine.liveBytes, 0);
  assert.equal(cache.bytes, 0);
  await refused(acquire(2), 'not_ready');
});

test('builds, hits and evictions are told', async () => {
  const told: string[] = [];
  const { use } = makeCache(60, {
    observer: {
      onVariantBuilt: (e) => told.push(`built ${e.model} ${e.version} ${e.bits}x${e.activationBits} ${e.bytes}`),
      onVariantHit: (e) => told.push(`hit ${e.model}`),
      onVariantEvicted: (e) => told.push(`evicted ${e.bytes} ${e.reason}`),
    },
  });
  await use(4);
  await use(4);
  await use(5);
  assert.deepEqual(told, ['built toy 1 4x4 40', 'hit toy', 'evicted 40 space', 'built toy 1 5x5 50']);
});

test('under random load the bytes never pass the bound and no variant goes while it runs', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = new Random(seed);
    const maxBytes = random.integer(100, 400);
    const { engine, cache } = makeCache(maxBytes, { waitMs: 5 });
    const check = () => {
      assert.ok(cache.bytes <= maxBytes && cache.bytes >= 0, `${cache.bytes} of ${maxBytes}`);
      assert.ok(engine.liveBytes <= cache.bytes, 'the engine holds no more than is counted');
    };
    engine.onBuild = async () => {
      check();
      for (let i = random.integer(0, 3); i > 0; i--) await settle();
      if (random.chance(0.1)) throw new Error('boom');
    };
    const outcomes = { ok: 0, failed: 0, overloaded: 0, large: 0 };
    const client = async () => {
      for (let i = 0; i < 60; i++) {
        const precision = random.pick(STANDARD_PRECISIONS);
        const id = { model: 'toy', version: 1, digest: random.pick(['x', 'y']) };
        let lease: Lease | null = null;
        try {
          lease = await cache.acquire(id, precision, source, precision.weightBits * 10);
          check();
          await engine.run(lease.variant, new Float32Array(1), 1);
          if (random.chance(0.5)) await settle();
          await engine.run(lease.variant, new Float32Array(1), 1);
          outcomes.ok++;
        } catch (error) {
          if (!(error instanceof ServiceError)) {
            assert.equal((error as Error).message, 'boom');
            outcomes.failed++;
          } else if (error.code === 'overloaded') outcomes.overloaded++;
          else {
            assert.equal(error.code, 'variant_too_large');
            assert.ok(precision.weightBits * 10 > maxBytes);
            outcomes.large++;
          }
        } finally {
          lease?.release();
        }
        check();
        if (random.chance(0.05)) cache.drop('toy');
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
    assert.ok(outcomes.ok > 100 && outcomes.failed > 0, JSON.stringify(outcomes));
    assert.ok(engine.peakBytes <= maxBytes);
    assert.equal(engine.liveBytes, cache.bytes, 'at rest, what is counted is what is held');
    cache.close();
    assert.equal(engine.liveBytes, 0);
    assert.equal(cache.bytes, 0);
  }
});
