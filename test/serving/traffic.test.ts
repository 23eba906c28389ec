import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../../src/config.js';
import { ServiceError } from '../../src/errors.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import type { RejectionReason } from '../../src/serving/request.js';
import { createPredictionService } from '../../src/serving/service.js';
import { Random } from '../support/random.js';
import { FakeEngine, FakeStore, makeVersion, settle } from './fixtures.js';

const SIZE = 24;
const MAX_BATCH = 4;
const MAX_QUEUE = 12;
/** Why a request of this traffic may fail, and what the observer hears of it. */
const ENDS: Record<string, RejectionReason | null> = {
  overloaded: 'overload',
  power_budget: 'power',
  deadline_exceeded: 'deadline',
  client_closed_request: 'disconnect',
  not_ready: null,
  boom: null,
};

/** An engine whose builds and runs end, well or not, when they are picked. */
class PickedEngine extends FakeEngine {
  readonly capacity;
  readonly open: ((error?: Error) => void)[] = [];
  constructor(random: Random) {
    super();
    this.capacity = { runs: random.integer(1, 3), spreads: random.chance(0.5) };
    const held = () =>
      new Promise<void>((resolve, reject) => this.open.push((error) => (error ? reject(error) : resolve())));
    this.onBuild = held;
    this.onRun = held;
    this.logits = (input, batch) => Float32Array.from({ length: batch * 3 }, (_, i) => input[Math.floor(i / 3) * SIZE]);
  }
}

interface Sent {
  controller: AbortController;
  done: Promise<void>;
}

function setUp(random: Random) {
  const engine = new PickedEngine(random);
  const versions = [1, 2].map((version) => makeVersion({ version }));
  // Room for two or three variants of eight that are asked for.
  const store = new FakeStore(versions);
  const one = engine.bytesOf(store.source(versions[0]), { weightBits: 8, activationBits: 8 });
  const cacheBytes = Math.floor(one * (2 + random.next()));
  const ends: Record<string, number> = {};
  const heard: Record<string, number> = {};
  const service = createPredictionService({
    config: {
      ...readConfig({}),
      defaultModel: 'toy',
      maxBatch: MAX_BATCH,
      maxQueue: MAX_QUEUE,
      batchWaitMs: random.pick([0, 0, 5]),
      batching: random.pick(['on', 'on', 'off']),
      variantCacheBytes: cacheBytes,
      powerBudgetMw: random.pick([0, 2e-5, 1]),
    },
    store,
    engine,
    energyTable: HOROWITZ_45NM,
    observer: { onRejected: ({ reason }) => (heard[reason] = (heard[reason] ?? 0) + 1) },
  });
  const sent: Sent[] = [];
  let pixel = 0;
  const send = (): void => {
    const pixels = Array.from({ length: random.integer(1, MAX_BATCH) }, () => (pixel = (pixel + 1) % 256));
    const named = random.pick([undefined, 2, 4, 8] as const);
    const deadlineMs = random.chance(0.3) ? random.integer(1, 60) : undefined;
    const controller = new AbortController();
    const bytes = Uint8Array.from(pixels.flatMap((x) => Array(SIZE).fill(x)));
    const answer = service.infer({
      version: random.pick([1, 2]),
      choice: { bits: named },
      body: { kind: 'raw', dtype: 'uint8', bytes },
      deadlineMs,
      signal: random.chance(0.8) ? controller.signal : undefined,
    });
    const end = (code: string) => (ends[code] = (ends[code] ?? 0) + 1);
    const done = answer.then(
      ({ logits, precision }) => {
        end('answered');
        assert.deepEqual(
          [...logits],
          pixels.flatMap((x) => Array(3).fill(Math.fround(x / 255))),
          'its own rows',
        );
        if (named) assert.equal(precision.weightBits, named, 'the bits that it named');
      },
      (error: Error) => {
        const code = error instanceof ServiceError ? error.code : error.message;
        assert.ok(code in ENDS, `${code}: ${error.stack}`);
        if (code === 'deadline_exceeded') assert.ok(deadlineMs !== undefined);
        if (code === 'client_closed_request') assert.ok(controller.signal.aborted);
        end(code);
      },
    );
    sent.push({ controller, done });
  };
  return { engine, service, sent, send, ends, heard, cacheBytes };
}

test('random traffic with deadlines, leavers, failures, evictions and a drain: nothing is left over and nothing mixed up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const total: Record<string, number> = {};
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Random(seed);
    const { engine, service, sent, send, ends, heard, cacheBytes } = setUp(random);
    const endOne = () => {
      const [end] = engine.open.splice(random.integer(0, engine.open.length - 1), 1);
      end?.(random.chance(0.1) ? new Error('boom') : undefined);
    };
    for (let step = 0; step < 150; step++) {
      const dice = random.next();
      if (dice < 0.4) send();
      else if (dice < 0.7) endOne();
      else if (dice < 0.8 && sent.length > 0) random.pick(sent).controller.abort();
      else if (dice < 0.9) t.mock.timers.tick(random.integer(1, 20));
      else if (dice < 0.95) await service.dropVariants('toy');
      if (random.chance(0.7)) await settle();
      const { taken, waiting, running, power } = service.load();
      assert.ok(taken <= MAX_QUEUE, `seed ${seed}: ${taken} taken`);
      assert.ok(waiting + running <= taken, `seed ${seed}: ${waiting} + ${running} of ${taken}`);
      assert.ok(!power || power.milliwatts <= power.budget * (1 + 1e-9), `seed ${seed}: ${power?.milliwatts} mW`);
    }
    const closing = service.close();
    await assert.rejects(service.infer({ choice: {}, body: { kind: 'image', bytes: new Uint8Array(1) } }), {
      code: 'not_ready',
    });
    let closed = false;
    void closing.then(() => (closed = true));
    for (let i = 0; !closed || engine.open.length > 0; i++) {
      assert.ok(i < 2000, `seed ${seed}: the drain does not end`);
      endOne();
      t.mock.timers.tick(50);
      await settle();
    }
    await Promise.all(sent.map(({ done }) => done));
    await settle();
    const { taken, waiting, running } = service.load();
    assert.deepEqual([taken, waiting, running], [0, 0, 0], `seed ${seed}`);
    assert.deepEqual([engine.liveBytes, engine.live.size], [0, 0], `seed ${seed}: what was built is released`);
    assert.ok(engine.peakBytes <= cacheBytes, `seed ${seed}: ${engine.peakBytes} bytes of ${cacheBytes}`);
    for (const [code, reason] of Object.entries(ENDS)) {
      if (reason) assert.equal(heard[reason] ?? 0, ends[code] ?? 0, `seed ${seed}: ${code} as ${reason}`);
    }
    for (const [code, n] of Object.entries(ends)) total[code] = (total[code] ?? 0) + n;
  }
  // The traffic is of no use if it never comes to these.
  for (const code of ['answered', ...Object.keys(ENDS)]) {
    if (code !== 'not_ready') assert.ok(total[code] > 20, `${code}: ${total[code] ?? 0} of ${JSON.stringify(total)}`);
  }
});
