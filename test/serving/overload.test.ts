import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { readConfig } from '../../src/config.js';
import { energyOutlineUj, HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { type Precision, parsePrecision } from '../../src/quantize/precision.js';
import type { InferRequest, RejectionReason } from '../../src/serving/request.js';
import { createPredictionService, type PredictionServiceOptions } from '../../src/serving/service.js';
import { FakeEngine, FakeStore, Gate, makeVersion, refused, settle } from './fixtures.js';

const ACCURACIES = { '8x8': 0.9, '5x5': 0.895, '4x4': 0.89, '3x3': 0.87, '2x2': 0.5 };

function setUp(
  config: Partial<PredictionServiceOptions['config']> = {},
  accuracies: Record<string, number> = ACCURACIES,
) {
  const engine = new FakeEngine();
  const version = makeVersion({ accuracies });
  const rejected: RejectionReason[] = [];
  const degraded: (string | undefined)[] = [];
  const service = createPredictionService({
    config: { ...readConfig({}), defaultModel: 'toy', maxBatch: 8, maxQueue: 16, ...config },
    store: new FakeStore([version]),
    engine,
    energyTable: HOROWITZ_45NM,
    observer: {
      onRejected: ({ reason }) => rejected.push(reason),
      onPrediction: (e) => degraded.push(e.degraded),
    },
  });
  const infer = (request: Partial<InferRequest> = {}, instances = 1) =>
    service.infer({
      choice: {},
      body: { kind: 'raw', dtype: 'uint8', bytes: new Uint8Array(24 * instances) },
      ...request,
    });
  /** Holds every run until the gate opens. */
  const hold = () => {
    const gate = new Gate();
    engine.onRun = () => gate.passed;
    return gate;
  };
  const energy = (key: string) => energyOutlineUj(version.graph, version.manifest, parsePrecision(key), HOROWITZ_45NM);
  return { engine, service, infer, hold, energy, rejected, degraded };
}
const key = ({ weightBits, activationBits }: Precision) => `${weightBits}x${activationBits}`;

test('requests that come while the engine is busy run together and get their own logits', async () => {
  const { engine, infer, hold } = setUp();
  engine.logits = (input, batch) =>
    Float32Array.from({ length: batch * 3 }, (_, i) => input[Math.floor(i / 3) * 24] * (i % 3));
  await infer();
  const gate = hold();
  const pixel = (x: number) => ({
    body: { kind: 'raw', dtype: 'uint8', bytes: new Uint8Array(24).fill(x) } as const,
  });
  const answers = [51, 102, 153, 204].map((x) => infer(pixel(x)));
  await settle();
  assert.deepEqual(
    engine.runs.map((run) => run.batch),
    [1, 1],
  );
  gate.open();
  const logits = (await Promise.all(answers)).map((answer) => [...answer.logits]);
  assert.deepEqual(
    engine.runs.map((run) => run.batch),
    [1, 1, 3],
  );
  assert.deepEqual(
    logits,
    [51, 102, 153, 204].map((x) => [0, Math.fround(x / 255), Math.fround(Math.fround(x / 255) * 2)]),
  );
});

test('a run that was shared tells nothing of what one image takes alone', async () => {
  const { engine, service, infer, hold } = setUp();
  engine.computeMs = (_, batch) => (batch === 1 ? 7 : 0.1);
  await infer();
  const gate = hold();
  const answers = Array.from({ length: 9 }, () => infer());
  await settle();
  gate.open();
  assert.equal((await Promise.all(answers))[8].timing.computeMs, 0.1);
  assert.equal(service.variants()[0].latency_ms, 7);
});

test('a latency budget bounds the run that a request shares', async () => {
  const { engine, infer, hold } = setUp();
  engine.computeMs = (_, batch) => batch * 2;
  await infer({ choice: { budget: { maxLatencyMs: 6.5 } } });
  engine.runs = [];
  const gate = hold();
  const answers = Array.from({ length: 9 }, () => infer({ choice: { budget: { maxLatencyMs: 6.5 } } }));
  await settle();
  gate.open();
  for (const { timing } of await Promise.all(answers)) assert.ok(timing.computeMs <= 6.5);
  assert.deepEqual(
    engine.runs.map((run) => run.batch),
    [1, 3, 3, 2],
  );
});

test('without batching every request is a run of its own', async () => {
  const { engine, infer, hold } = setUp({ batching: 'off' });
  const gate = hold();
  const answers = Array.from({ length: 5 }, () => infer());
  await settle();
  gate.open();
  await Promise.all(answers);
  assert.deepEqual(
    engine.runs.map((run) => run.batch),
    [1, 1, 1, 1, 1],
  );
});

test('the bound counts instances; past it the rest is turned away at once, and what was taken in is answered', async () => {
  const { service, infer, hold, rejected } = setUp({ maxQueue: 10 });
  const gate = hold();
  const accepted = [infer({}, 4), infer({}, 4)];
  await settle();
  service.admits();
  await refused(infer({}, 3), 'overloaded');
  accepted.push(infer({}, 2));
  await settle();
  assert.throws(() => service.admits(), { code: 'overloaded' });
  await refused(infer(), 'overloaded');
  assert.deepEqual(rejected, ['overload', 'overload', 'overload']);
  assert.deepEqual([service.load().taken, service.load().limit, service.load().running], [10, 10, 4]);
  gate.open();
  assert.deepEqual(
    (await Promise.all(accepted)).map(({ batch }) => batch),
    [4, 4, 2],
  );
  assert.equal(service.load().taken, 0);
  service.admits();
});

test('by config it is 429', async () => {
  const { infer, hold } = setUp({ maxQueue: 1, overloadStatus: '429' });
  const gate = hold();
  const first = infer();
  await settle();
  assert.equal((await refused(infer(), 'too_many_requests')).status, 429);
  gate.open();
  await first;
});

test('a deadline that passes while a request waits frees its place, and nothing is computed', async () => {
  const { engine, service, infer, hold, rejected } = setUp();
  const gate = hold();
  const first = infer();
  await settle();
  const error = await refused(infer({ deadlineMs: 5 }), 'deadline_exceeded');
  assert.equal(error.status, 504);
  await settle();
  assert.equal(service.load().taken, 1);
  gate.open();
  await first;
  await infer({ deadlineMs: 60_000 });
  assert.equal(engine.runs.length, 2);
  assert.deepEqual(rejected, ['deadline']);
});

test('a deadline that passes during the run is told at once; the place is free when the engine is', async () => {
  const { service, infer, hold } = setUp();
  const gate = hold();
  await refused(infer({ deadlineMs: 5 }), 'deadline_exceeded');
  assert.equal(service.load().taken, 1);
  gate.open();
  await settle();
  assert.equal(service.load().taken, 0);
  assert.equal(service.variants()[0].in_use, 0);
});

test('a client that has gone is not waited for: before the queue, in it, and while a variant is built', async () => {
  const { engine, service, infer, hold, rejected } = setUp();
  await refused(infer({ signal: AbortSignal.abort() }), 'client_closed_request');
  assert.equal(engine.builds.length, 0, 'not even built');

  const building = new Gate();
  engine.onBuild = () => building.passed;
  const during = new AbortController();
  const gone = infer({ signal: during.signal });
  await settle();
  during.abort();
  await refused(gone, 'client_closed_request');
  await settle();
  assert.equal(service.load().taken, 0, 'the place is free before the build ends');
  building.open();
  await settle();
  assert.equal(service.variants()[0].in_use, 0, 'and the late lease is given back');

  const gate = hold();
  const first = infer();
  await settle();
  const waiting = new AbortController();
  const left = infer({ signal: waiting.signal });
  await settle();
  assert.equal(service.load().waiting, 1);
  waiting.abort();
  await refused(left, 'client_closed_request');
  await settle();
  assert.deepEqual([service.load().waiting, service.load().taken], [0, 1]);
  gate.open();
  await first;
  assert.equal(engine.runs.length, 1);
  assert.deepEqual(rejected, ['disconnect', 'disconnect', 'disconnect']);
});

test('image files are counted before they are decoded, and no more of them are once nobody waits', async () => {
  const { service, infer, rejected } = setUp({ maxQueue: 6 });
  const good = await sharp({ create: { width: 4, height: 3, channels: 3, background: '#808080' } })
    .png()
    .toBuffer();
  // it is the last one that would be found out
  const images = (count: number): InferRequest['body'] => ({
    kind: 'instances',
    instances: [...Array<Buffer>(count - 1).fill(good), Buffer.from('none')].map((file) => ({
      b64: file.toString('base64'),
    })),
  });
  const decoding = infer({ body: images(4) });
  await refused(infer({ body: images(4) }), 'overloaded');
  assert.equal((await refused(decoding, 'bad_image')).extra.field, 'instances[3].b64');
  assert.equal(service.load().taken, 0);

  const client = new AbortController();
  const left = infer({ body: images(6), signal: client.signal });
  client.abort();
  await refused(left, 'client_closed_request');
  assert.equal(service.load().taken, 0);
  assert.deepEqual(rejected, ['overload', 'disconnect']);
});

test('a client that goes while latencies are measured for its budget frees its place at once', async () => {
  const { engine, service, infer } = setUp();
  const building = new Gate();
  engine.onBuild = () => building.passed;
  const controller = new AbortController();
  const gone = infer({ signal: controller.signal, choice: { budget: { maxLatencyMs: 100 } } });
  await settle();
  assert.equal(engine.builds.length, 1);
  controller.abort();
  await refused(gone, 'client_closed_request');
  await settle();
  assert.equal(service.load().taken, 0);
  building.open();
  await service.close();
  assert.equal(engine.liveBytes, 0);
});

test('a variant that is built for a client that has gone, while the service closes, is released', async () => {
  const { engine, service, infer } = setUp();
  const building = new Gate();
  engine.onBuild = () => building.passed;
  const controller = new AbortController();
  const gone = infer({ signal: controller.signal });
  await settle();
  controller.abort();
  await refused(gone, 'client_closed_request');
  await service.close();
  building.open();
  await settle();
  assert.deepEqual([engine.builds.length, engine.live.size], [1, 0]);
});

test('wrong deadlines are refused and take no place', async () => {
  const { service, infer } = setUp();
  for (const deadlineMs of [0, -5, Number.NaN]) {
    assert.equal((await refused(infer({ deadlineMs }), 'invalid_field')).extra.field, 'timeout_ms');
  }
  assert.equal(service.load().taken, 0);
});

test('under load the bits go down for those who left them open, never for those who named them', async () => {
  const { engine, service, infer, hold, degraded } = setUp({
    overloadPolicy: 'degrade',
    degradeWaitMs: 5,
    maxQueue: 64,
    degradeMaxDrop: 0.02,
  });
  engine.computeMs = (precision, batch) => precision.weightBits * batch;
  await infer();
  await settle();
  assert.equal((await infer()).degraded, undefined);
  // A refusal in each interval is load; intervals are of 250 ms.
  const overload = async () => {
    const gate = hold();
    const all = Array.from({ length: 64 }, () => infer());
    await settle();
    await refused(infer(), 'overloaded');
    gate.open();
    await Promise.all(all);
  };
  for (let i = 0; service.load().brownOut < 1; i++) {
    assert.ok(i < 40, 'no brown-out');
    await overload();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const answer = await infer();
  assert.equal(key(answer.precision), '4x4', 'the fastest within 0.02 of 0.9');
  assert.deepEqual(answer.degraded, { from: { weightBits: 8, activationBits: 8 }, reason: 'overload' });
  assert.equal(degraded.at(-1), 'overload');
  const of = async (choice: InferRequest['choice']) => {
    const { precision, degraded: lowered } = await infer({ choice });
    return [key(precision), lowered?.reason];
  };
  assert.deepEqual(await of({ bits: 8 }), ['8x8', undefined]);
  assert.deepEqual(await of({ activationBits: 8 }), ['8x8', undefined]);
  assert.deepEqual(await of({ budget: { minAccuracy: 0.895 } }), ['5x5', 'overload']);
  assert.deepEqual(await of({ budget: { minAccuracy: 0.9 } }), ['8x8', undefined]);
});

test('without the policy nothing is lowered, whatever the load', async () => {
  const { infer, hold } = setUp({ maxQueue: 2 });
  const gate = hold();
  const all = [infer(), infer()];
  await settle();
  await refused(infer(), 'overloaded');
  gate.open();
  for (const answer of await Promise.all(all)) assert.ok(!('degraded' in answer));
});

test('a power budget lowers bits within the drop, counts those who named theirs, and refuses what does not fit', async () => {
  const sample = setUp();
  // The window of 10 s has energy for 20 inferences at 8 × 8 bits.
  const powerBudgetMw = (20 * sample.energy('8x8')) / 10_000;
  const { service, infer, energy, rejected } = setUp({ powerBudgetMw });
  const first = await infer();
  assert.equal(key(first.precision), '8x8');
  const answers = [];
  let spent = energy('8x8');
  const refusals: number[] = [];
  for (let i = 0; i < 60; i++) {
    try {
      const answer = await infer();
      answers.push(answer);
      spent += energy(key(answer.precision));
    } catch (error) {
      const { code, extra } = error as { code: string; extra: { retry_after_s: number } };
      assert.equal(code, 'power_budget');
      refusals.push(extra.retry_after_s);
    }
  }
  const lowered = answers.filter(({ degraded }) => degraded?.reason === 'power');
  assert.ok(lowered.length > 10, `${lowered.length} of ${answers.length} lowered`);
  assert.ok(lowered.every(({ precision }) => ['5x5', '4x4'].includes(key(precision))));
  assert.ok(refusals.length > 0 && refusals.every((s) => s >= 1 && s <= 11), `${refusals}`);
  assert.ok(rejected.every((reason) => reason === 'power'));
  const { power } = service.load();
  assert.ok(power && power.milliwatts <= power.budget + 1e-12);
  assert.ok(Math.abs(power.milliwatts * 10_000 - spent) < 1e-6 * spent, 'all that was answered is counted');
  await refused(infer({ choice: { bits: 16 } }), 'power_budget');
  await refused(infer({ choice: { budget: { minAccuracy: 0.9 } } }), 'power_budget');
});

test('energy that was set aside for a run that failed is given back', async () => {
  const { engine, service, infer, energy } = setUp({ powerBudgetMw: 1e-9 });
  assert.ok(energy('2x2') > 1e-9 * 10_000);
  await refused(infer(), 'power_budget');
  const roomy = setUp({ powerBudgetMw: (1.5 * energy('8x8')) / 10_000 });
  roomy.engine.onRun = () => Promise.reject(new Error('boom'));
  for (let i = 0; i < 5; i++) await assert.rejects(roomy.infer({ choice: { bits: 8 } }), /boom/);
  roomy.engine.onRun = () => {};
  await roomy.infer({ choice: { bits: 8 } });
  await refused(roomy.infer({ choice: { bits: 8 } }), 'power_budget');
  assert.deepEqual([engine.runs.length, service.load().taken], [0, 0]);
});

test('where the accuracy is not known nothing is lowered', async () => {
  const { infer } = setUp({ powerBudgetMw: 1000, defaultBits: '7' });
  const answer = await infer();
  assert.deepEqual([key(answer.precision), answer.degraded], ['7x7', undefined]);
});
