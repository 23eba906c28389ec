import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineCapacity, RunResult, Variant } from '../../src/engine/engine.js';
import { Batcher, type BatcherOptions, type BatchRun, RUNS_AHEAD } from '../../src/serving/batcher.js';
import { Patience } from '../../src/serving/patience.js';
import { Random } from '../support/random.js';
import { refused, settle } from './fixtures.js';

const SIZE = 2;
const variant = (name: string) => ({ engine: name }) as Variant;

/** An engine whose runs end when they are told to; the logits of a row are its numbers. */
class HeldEngine {
  runs: { variant: string; rows: number[]; end(error?: Error): Promise<void> }[] = [];
  constructor(readonly capacity: EngineCapacity = { runs: 1, spreads: true }) {}

  run({ engine }: Variant, input: Float32Array, batch: number): Promise<RunResult> {
    assert.equal(input.length, batch * SIZE);
    return new Promise((resolve, reject) => {
      const end = async (error?: Error) => {
        if (error) reject(error);
        else resolve({ logits: input.slice(), queueMs: 0.25, computeMs: batch * 2 });
        await settle();
      };
      const rows = [...input].filter((_, i) => i % SIZE === 0);
      this.runs.push({ variant: engine, rows, end });
    });
  }
  get seen(): string[] {
    return this.runs.map((run) => `${run.variant}:${run.rows.join(',')}`);
  }
}

function setUp(options: Partial<BatcherOptions> = {}, engine = new HeldEngine()) {
  let now = 0;
  const told: BatchRun[] = [];
  const batcher = new Batcher({
    engine,
    maxBatch: 8,
    waitMs: 0,
    now: () => now,
    onBatch: (run) => told.push(run),
    ...options,
  });
  const [a, b] = [variant('a'), variant('b')];
  /** A request of rows that begin with these numbers. */
  const ask = (numbers: number[], { of = a, company, patience }: Asked = {}) => {
    const input = Float32Array.from(numbers.flatMap((x) => [x, -x]));
    return batcher.run(of, { input, batch: numbers.length, company, patience });
  };
  return { engine, batcher, told, a, b, ask, pass: (ms: number) => (now += ms) };
}
interface Asked {
  of?: Variant;
  company?: number;
  patience?: Patience | null;
}

test('where nothing runs a request is dispatched at once, by itself and without waiting', async () => {
  const { engine, ask, told } = setUp({ waitMs: 1000 });
  const answer = ask([1]);
  assert.deepEqual(engine.seen, ['a:1'], 'in the same turn of the event loop');
  await engine.runs[0].end();
  assert.deepEqual(await answer, { logits: Float32Array.of(1, -1), queueMs: 0.25, computeMs: 2, together: 1 });
  assert.deepEqual([told[0].requests, told[0].instances, told[0].waitedMs], [1, 1, 0]);
});

test('what comes while the engine is busy runs together, and each gets its own rows and its own wait', async () => {
  const { engine, batcher, ask, pass, told } = setUp();
  const first = ask([1]);
  pass(1);
  const second = ask([2, 3]);
  pass(3);
  const third = ask([4]);
  assert.deepEqual([batcher.running, batcher.waiting, batcher.oldestMs()], [1, 3, 3]);
  pass(1);
  await engine.runs[0].end();
  assert.deepEqual(engine.seen, ['a:1', 'a:2,3,4']);
  await engine.runs[1].end();
  assert.equal((await first).together, 1);
  assert.deepEqual(await second, {
    logits: Float32Array.of(2, -2, 3, -3),
    queueMs: 4.25,
    computeMs: 6,
    together: 3,
  });
  assert.deepEqual(await third, { logits: Float32Array.of(4, -4), queueMs: 1.25, computeMs: 6, together: 3 });
  assert.deepEqual([told[1].requests, told[1].instances, told[1].waitedMs], [2, 3, 4.25]);
  assert.deepEqual([batcher.running, batcher.waiting, batcher.oldestMs()], [0, 0, 0]);
});

test('a batch has at most so many instances, and nobody overtakes', async () => {
  const { engine, ask } = setUp({ maxBatch: 4 });
  void ask([0]);
  for (const numbers of [[1, 2, 3], [4, 5], [6], [7], [8]]) void ask(numbers);
  for (let i = 0; i < 4; i++) await engine.runs[i].end();
  assert.deepEqual(engine.seen, ['a:0', 'a:1,2,3', 'a:4,5,6,7', 'a:8']);
});

test('with a batch of one every request is a run of its own, in order', async () => {
  const { engine, ask } = setUp({ maxBatch: 1 });
  for (const numbers of [[0], [1, 2], [3], [4]]) void ask(numbers);
  for (let i = 0; i < 4; i++) await engine.runs[i].end();
  assert.deepEqual(engine.seen, ['a:0', 'a:1,2', 'a:3', 'a:4']);
});

test('variants do not mix, and the one whose first request has waited longest is next', async () => {
  const { engine, ask, b, pass } = setUp();
  for (const [numbers, of] of [[[0]], [[1], b], [[2]], [[3], b], [[4]]] as [number[], Variant?][]) {
    void ask(numbers, { of });
    pass(1);
  }
  for (let i = 0; i < 3; i++) await engine.runs[i].end();
  assert.deepEqual(engine.seen, ['a:0', 'b:1,3', 'a:2,4']);
});

test('an engine with room for several runs gets them, and only then is it busy', async () => {
  const { engine, ask } = setUp({}, new HeldEngine({ runs: 2, spreads: true }));
  for (const x of [1, 2, 3, 4]) void ask([x]);
  assert.deepEqual(engine.seen, ['a:1', 'a:2']);
  await engine.runs[1].end();
  assert.deepEqual(engine.seen, ['a:1', 'a:2', 'a:3,4']);
});

test('where a run keeps one thread, what waits is shared among the threads', async () => {
  const { engine, ask } = setUp({}, new HeldEngine({ runs: 2, spreads: false }));
  for (const x of [1, 2, 3, 4, 5, 6, 7]) void ask([x]);
  await engine.runs[0].end();
  assert.deepEqual(engine.seen, ['a:1', 'a:2', 'a:3,4,5'], 'half of the five that wait and the one that runs');
  await engine.runs[1].end();
  assert.deepEqual(engine.seen.slice(3), ['a:6,7']);
});

test('with a time to wait, what comes beside a run waits for company: so long, or until the batch is full', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { engine, ask, pass } = setUp({ waitMs: 10, maxBatch: 3 }, new HeldEngine({ runs: 3, spreads: true }));
  const tick = (ms: number) => {
    pass(ms);
    t.mock.timers.tick(ms);
  };
  void ask([0]);
  void ask([1]);
  tick(6);
  void ask([2]);
  tick(3);
  assert.deepEqual(engine.seen, ['a:0'], 'the engine has room, and they wait');
  tick(1);
  assert.deepEqual(engine.seen, ['a:0', 'a:1,2'], 'the first has waited its 10 ms');
  for (const x of [3, 4, 5]) void ask([x]);
  assert.deepEqual(engine.seen.at(-1), 'a:3,4,5', 'full');
  void ask([6]);
  tick(100);
  assert.equal(engine.seen.length, 3, 'no room: waiting for the engine is no waiting for company');
});

test('a batch that is full does not wait for the company of another variant', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { engine, ask, b, pass } = setUp({ waitMs: 10, maxBatch: 2 }, new HeldEngine({ runs: 3, spreads: true }));
  void ask([0]);
  void ask([1], { of: b });
  pass(4);
  void ask([2]);
  void ask([3]);
  assert.deepEqual(engine.seen, ['a:0', 'a:2,3'], 'b has company to wait for, a has none');
  pass(6);
  t.mock.timers.tick(6);
  t.mock.timers.tick(4);
  assert.deepEqual(engine.seen.at(-1), 'b:1', 'after its own 10 ms');
});

test('nothing waits for company once nothing runs', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { engine, ask } = setUp({ waitMs: 1000 }, new HeldEngine({ runs: 2, spreads: true }));
  void ask([1]);
  void ask([2]);
  assert.deepEqual(engine.seen, ['a:1']);
  engine.runs[0].end();
  for (let i = 0; i < 10; i++) await Promise.resolve();
  assert.deepEqual(engine.seen, ['a:1', 'a:2']);
});

test('a request whose patience ends leaves the queue, and nothing is computed for it', async () => {
  const { engine, batcher, ask } = setUp();
  void ask([1]);
  const controller = new AbortController();
  const gone = ask([2], { patience: Patience.of({ signal: controller.signal }) });
  const stays = ask([3]);
  controller.abort();
  await refused(gone, 'client_closed_request');
  assert.equal(batcher.waiting, 1);
  await refused(ask([4], { patience: Patience.of({ signal: controller.signal }) }), 'client_closed_request');
  await engine.runs[0].end();
  await engine.runs[1].end();
  assert.deepEqual(engine.seen, ['a:1', 'a:3']);
  assert.deepEqual((await stays).logits, Float32Array.of(3, -3));
});

test('where all that waited have left, the engine rests until the next comes', async () => {
  const { engine, batcher, ask } = setUp();
  void ask([1]);
  const controller = new AbortController();
  const gone = ask([2], { patience: Patience.of({ signal: controller.signal }) });
  controller.abort();
  await refused(gone, 'client_closed_request');
  await engine.runs[0].end();
  assert.deepEqual([engine.seen.length, batcher.waiting, batcher.running], [1, 0, 0]);
  void ask([3]);
  assert.deepEqual(engine.seen, ['a:1', 'a:3']);
});

test('a request that bears little company rides in a small batch', async () => {
  const { engine, ask } = setUp();
  void ask([0]);
  for (const x of [1, 2, 3]) void ask([x], { company: x === 2 ? 2 : undefined });
  for (let i = 0; i < 3; i++) await engine.runs[i].end();
  assert.deepEqual(engine.seen, ['a:0', 'a:1,2', 'a:3']);
});

test('a run that fails fails those in it and nobody else', async () => {
  const { engine, batcher, ask } = setUp();
  const failing = [ask([0]), ask([1]), ask([2])];
  const outcomes = Promise.allSettled(failing);
  await engine.runs[0].end(new Error('boom'));
  const after = ask([3]);
  await engine.runs[1].end(new Error('bang'));
  await engine.runs[2].end();
  assert.deepEqual(
    (await outcomes).map((o) => (o as PromiseRejectedResult).reason?.message),
    ['boom', 'bang', 'bang'],
  );
  assert.deepEqual((await after).logits, Float32Array.of(3, -3));
  assert.deepEqual([batcher.running, batcher.waiting], [0, 0]);
});

test('random traffic: everyone is answered with exactly their rows, once, unless they left', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const maxBatch = random.integer(1, 6);
    const capacity = { runs: random.integer(1, 3), spreads: random.chance(0.5) };
    const { engine, batcher, ask, a, b, pass } = setUp({ maxBatch }, new HeldEngine(capacity));
    const outcomes: Promise<void>[] = [];
    let [next, ended] = [1, 0];
    for (let i = 0; i < 60; i++) {
      pass(1);
      if (random.chance(0.6)) {
        const numbers = Array.from({ length: random.integer(1, 3) }, () => next++);
        const controller = new AbortController();
        const patience = Patience.of({ signal: controller.signal });
        const answer = ask(numbers, { of: random.pick([a, b]), patience });
        const leaves = random.chance(0.2);
        outcomes.push(
          answer.then(
            ({ logits }) =>
              assert.deepEqual(
                [...logits],
                numbers.flatMap((x) => [x, -x]),
                `seed ${seed}`,
              ),
            (error) => assert.ok(leaves, `seed ${seed}: ${error}`),
          ),
        );
        if (leaves) controller.abort();
      } else if (ended < engine.runs.length) await engine.runs[ended++].end();
      const most = capacity.runs * (maxBatch === 1 ? RUNS_AHEAD : 1);
      assert.ok(engine.runs.length - ended <= most, `seed ${seed}: too many runs at a time`);
    }
    while (ended < engine.runs.length) await engine.runs[ended++].end();
    await Promise.all(outcomes);
    assert.deepEqual([batcher.running, batcher.waiting], [0, 0], `seed ${seed}`);
    const rows = engine.runs.flatMap((run) => run.rows);
    assert.equal(new Set(rows).size, rows.length, `seed ${seed}: a row was computed twice`);
  }
});
