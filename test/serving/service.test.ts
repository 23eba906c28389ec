import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceError } from '../../src/errors.js';
import type { Version } from '../../src/model/store.js';
import { energyOutlineUj, HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { isWidth, type Precision, parsePrecision, type Width } from '../../src/quantize/precision.js';
import type { Budget, PredictRequest, ServingObserver } from '../../src/serving/request.js';
import { createPredictionService, type PredictionServiceOptions } from '../../src/serving/service.js';
import type { StepObserver } from '../../src/serving/steps.js';
import { FakeEngine, FakeStore, Gate, makeVersion, refused, settle } from './fixtures.js';

const CONFIG: PredictionServiceOptions['config'] = {
  defaultModel: 'toy',
  defaultBits: '',
  variantCacheBytes: 1 << 20,
  maxBatch: 8,
  maxImagePixels: 10_000,
  maxQueue: 16,
  batching: 'on',
  batchWaitMs: 0,
  overloadStatus: '503',
  overloadPolicy: 'reject',
  degradeWaitMs: 50,
  degradeMaxDrop: 0.02,
  powerBudgetMw: 0,
};

interface SetUp {
  config?: Partial<typeof CONFIG>;
  versions?: Version[];
  observer?: ServingObserver;
  energyTable?: typeof HOROWITZ_45NM;
}

function setUp({ config, versions = [makeVersion()], observer, energyTable = HOROWITZ_45NM }: SetUp = {}) {
  const engine = new FakeEngine();
  const service = createPredictionService({
    config: { ...CONFIG, ...config },
    store: new FakeStore(versions),
    engine,
    energyTable,
    observer,
  });
  const predict = (request: Partial<PredictRequest> = {}, instances = 1) =>
    service.predict({
      choice: {},
      body: { kind: 'raw', dtype: 'uint8', bytes: new Uint8Array(24 * instances) },
      ...request,
    });
  return { engine, service, predict };
}

const at = (w: Width, a: Width = w): Precision => ({ weightBits: w, activationBits: a });
const energy = (version: Version, precision: Precision, table = HOROWITZ_45NM) =>
  energyOutlineUj(version.graph, version.manifest, precision, table);

test('an answer has everything that the contract says', async () => {
  const version = makeVersion();
  const { engine, predict } = setUp({ versions: [version] });
  engine.logits = () => Float32Array.of(0, 2, 1, 5, 5, 4);
  const answer = await predict({ choice: { bits: 4 }, topK: 2 }, 2);
  const e = Math.exp;
  const [sum, sum2] = [e(-2) + 1 + e(-1), 2 + e(-1)];
  const b = { label: 'b', index: 1, probability: 1 / sum };
  const a2 = { label: 'a', index: 0, probability: 1 / sum2 };
  const memory = engine.bytesOf(new FakeStore([version]).source(version), at(4));
  assert.deepEqual(answer, {
    model: 'toy',
    version: 1,
    digest: 'toy-digest-1',
    bits: 4,
    activation_bits: 4,
    predictions: [
      { ...b, top: [b, { label: 'c', index: 2, probability: e(-1) / sum }] },
      { ...a2, top: [a2, { label: 'b', index: 1, probability: 1 / sum2 }] },
    ],
    cost: { energy_uj: 2 * energy(version, at(4)), memory_bytes: memory, expected_accuracy: 0.904 },
    variant: { cached: false, build_ms: 1.5, engine: 'fake' },
    timing_ms: { queue: 0.25, compute: 4 },
  });
  assert.ok(answer.cost.energy_uj > 0 && memory > 0);
  assert.equal((await predict({ choice: { bits: 4 } })).variant.cached, true);
});

test('precisions come from bits, activation bits, the default of the service or of the version', async () => {
  const versions = [makeVersion({ defaultPrecision: '4x8' })];
  const cases: [string, PredictRequest['choice'], string][] = [
    ['', {}, '4x8'],
    ['', { bits: 3 }, '3x3'],
    ['', { bits: 3, activationBits: 8 }, '3x8'],
    ['', { activationBits: 6 }, '4x6'],
    ['', { budget: {} }, '4x8'],
    ['5', {}, '5x5'],
    ['5', { activationBits: 16 }, '5x16'],
    ['32', { bits: 2 }, '2x2'],
  ];
  for (const [defaultBits, choice, want] of cases) {
    const { engine, predict } = setUp({ versions, config: { defaultBits } });
    const answer = await predict({ choice });
    assert.deepEqual(engine.builds, [want]);
    assert.equal(`${answer.bits}x${answer.activation_bits}`, want);
  }
});

test('a precision that was not evaluated is served without an expected accuracy', async () => {
  const { predict } = setUp({ versions: [makeVersion({ accuracies: { '8x8': 0.9 } })] });
  assert.equal((await predict({ choice: { bits: 8 } })).cost.expected_accuracy, 0.9);
  assert.equal((await predict({ choice: { bits: 7, activationBits: 2 } })).cost.expected_accuracy, null);
});

test('what the budget binds holds for the answer, whatever table of energy is in force', async () => {
  const version = makeVersion();
  const other = { ...HOROWITZ_45NM, int8_multiply_pj: 9, fp16_multiply_pj: 0.01, weight_bit_pj: 0.3 };
  for (const energyTable of [HOROWITZ_45NM, other]) {
    const { predict } = setUp({ versions: [version], energyTable });
    for (const key of Object.keys(version.manifest.precisions)) {
      for (const instances of [1, 3]) {
        const exact = energy(version, parsePrecision(key), energyTable) * instances;
        const answer = await predict({ choice: { budget: { maxEnergyUj: exact } } }, instances);
        assert.ok(answer.cost.energy_uj <= exact, `${answer.cost.energy_uj} of ${exact}`);
        const accuracies = Object.entries(version.manifest.precisions)
          .filter(([k]) => energy(version, parsePrecision(k), energyTable) * instances <= exact)
          .map(([, record]) => record.accuracy as number);
        assert.equal(answer.cost.expected_accuracy, Math.max(...accuracies));
      }
    }
  }
});

test('a memory budget is about what will be resident', async () => {
  const { predict } = setUp();
  const bytes = (await predict({ choice: { bits: 3 } })).cost.memory_bytes;
  const answer = await predict({ choice: { budget: { maxMemoryKib: bytes / 1024 } } });
  assert.ok(answer.cost.memory_bytes <= bytes);
  assert.equal(answer.bits, 3);
});

test('a latency budget is for all instances, goes by this machine, and calibrates once', async () => {
  const { engine, service, predict } = setUp();
  engine.computeMs = (precision, batch) => precision.weightBits * batch;
  const budget = (maxLatencyMs: number, instances: number) =>
    predict({ choice: { budget: { maxLatencyMs } } }, instances);
  const first = await Promise.all(Array.from({ length: 10 }, () => budget(8, 1)));
  assert.ok(first.every((answer) => answer.bits === 8));
  assert.equal(engine.builds.length, 14 + 1, 'each of the table, and the one that answers');
  assert.equal((await budget(8, 2)).bits, 4);
  assert.equal((await budget(1e6, 8)).bits, 32);
  const error = await refused(budget(15.9, 8), 'budget_infeasible');
  assert.deepEqual(error.extra.budgets, {
    max_latency_ms: { given: 15.9, best_possible: 16, at_cheapest: 16, shortfall: 16 - 15.9 },
  });
  // From here on the machine is slower than it was.
  engine.computeMs = (precision, batch) => precision.weightBits * batch * 3;
  for (let i = 0; i < 31; i++) await predict({ choice: { bits: 8 } });
  assert.equal((await budget(8, 1)).bits, 7);
  assert.equal(service.variants().find((v) => v.bits === 8)?.latency_ms, 24);
});

test('a budget that cannot be met, and one without a table', async () => {
  const { predict } = setUp();
  const error = await refused(predict({ choice: { budget: { maxEnergyUj: 0 } } }), 'budget_infeasible');
  assert.equal((error.extra.cheapest as { bits: number }).bits, 2);
  const bare = setUp({ versions: [makeVersion({ accuracies: {} })] });
  await refused(bare.predict({ choice: { budget: { maxEnergyUj: 5 } } }), 'no_precision_table');
});

test('a budget never chooses what can not be resident here, but where nothing else is there', async () => {
  const { engine, predict } = setUp({ config: { variantCacheBytes: 200 } });
  const answer = await predict({ choice: { budget: { minAccuracy: 0.5 } } });
  assert.ok(answer.bits < 32 && answer.cost.memory_bytes <= 200);
  assert.equal(engine.builds.length, 1);
  await refused(predict({ choice: { bits: 32 } }), 'variant_too_large');
  const tiny = setUp({ config: { variantCacheBytes: 10 } });
  await refused(tiny.predict({ choice: { budget: { minAccuracy: 0.5 } } }), 'variant_too_large');
});

test('wrong requests are refused before anything is built', async () => {
  const { engine, predict } = setUp();
  const choice = (bits: unknown, rest: object = {}) => ({ choice: { bits: bits as Width, ...rest } });
  const budget: Budget = { maxEnergyUj: 1 };
  await refused(predict(choice(4, { budget })), 'bits_and_budget');
  await refused(predict({ choice: { activationBits: 4, budget } }), 'bits_and_budget');
  for (const bits of [0, 1, 9, 15, 33, -4, 4.5, Number.NaN, '4', null]) {
    assert.ok(!isWidth(bits as number));
    assert.equal((await refused(predict(choice(bits)), 'invalid_field')).extra.field, 'bits');
    const wrong = predict(choice(4, { activationBits: bits }));
    assert.equal((await refused(wrong, 'invalid_field')).extra.field, 'activation_bits');
  }
  await refused(predict({ choice: { budget: { minAccuracy: 2 } } }), 'invalid_field');
  for (const topK of [0, -1, 1.5, Number.NaN]) await refused(predict({ topK }), 'invalid_field');
  await refused(predict({ model: 'nobody' }), 'model_not_found');
  await refused(predict({ version: 9 }), 'version_not_found');
  await refused(predict({ body: { kind: 'instances', instances: [[1, 2]] } }), 'wrong_shape');
  await refused(predict({}, 9), 'batch_too_large');
  assert.deepEqual(engine.builds, []);
});

test('top_k is five by default and at most the number of classes', async () => {
  const labels = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const { engine, predict } = setUp({ versions: [makeVersion({ labels })] });
  engine.logits = () => new Float32Array(7);
  const tops = async (topK?: number) => (await predict({ topK })).predictions[0].top.map((t) => t.label).join('');
  assert.equal(await tops(), 'abcde');
  assert.equal(await tops(1), 'a');
  assert.equal(await tops(100), 'abcdefg');
});

test('a model, its current version, and an older one by number', async () => {
  const versions = [makeVersion(), makeVersion({ version: 2 }), makeVersion({ model: 'other', version: 5 })];
  const { engine, service, predict } = setUp({ versions });
  const served = async (request: Partial<PredictRequest>) => (await predict(request)).digest;
  assert.equal(await served({}), 'toy-digest-2');
  assert.equal(await served({ version: 1 }), 'toy-digest-1');
  assert.equal(await served({ model: 'other' }), 'other-digest-5');
  assert.equal(await served({ model: 'other', version: 5 }), 'other-digest-5');
  assert.equal(engine.builds.length, 3);
  assert.deepEqual(
    service.variants('toy').map((v) => [v.version, v.hits, v.in_use]),
    [
      [2, 0, 0],
      [1, 0, 0],
    ],
  );
  assert.equal(service.variants().length, 3);
});

test('past the bound on predictions in flight the rest is turned away, and comes in again later', async () => {
  const { engine, predict } = setUp({ config: { maxQueue: 3 } });
  const gate = new Gate();
  engine.onRun = () => gate.passed;
  const running = [predict(), predict(), predict()];
  await settle();
  const error = await refused(predict(), 'overloaded');
  assert.equal(error.extra.retry_after_s, 1);
  gate.open();
  await Promise.all(running);
  await predict();
  for (let i = 0; i < 10; i++) await refused(predict({ model: 'nobody' }), 'model_not_found');
  await predict();
});

test('a run that fails gives its lease back', async () => {
  const { engine, service, predict } = setUp();
  engine.onRun = () => Promise.reject(new Error('boom'));
  await assert.rejects(predict(), /boom/);
  assert.equal(service.variants()[0].in_use, 0);
  assert.equal((await service.dropVariants('toy')).dropped, 1);
  assert.equal(engine.liveBytes, 0);
});

test('variants are listed and dropped', async () => {
  const { engine, service, predict } = setUp();
  await predict({ choice: { bits: 4, activationBits: 8 } });
  await predict({ choice: { bits: 4, activationBits: 8 } }, 2);
  const [only] = service.variants('toy');
  const { memory_bytes, ...rest } = only;
  assert.deepEqual(rest, {
    model: 'toy',
    version: 1,
    bits: 4,
    activation_bits: 8,
    hits: 1,
    in_use: 0,
    engine: 'fake',
    build_ms: 1.5,
    latency_ms: 2,
  });
  assert.equal(memory_bytes, engine.liveBytes);
  assert.deepEqual(await service.dropVariants('toy'), { dropped: 1, bytes: memory_bytes });
  assert.deepEqual(await service.dropVariants('toy'), { dropped: 0, bytes: 0 });
  await refused(service.dropVariants('nobody'), 'model_not_found');
  assert.equal(engine.liveBytes, 0);
});

test('what happens is told to the observer', async () => {
  const told: Record<string, unknown>[] = [];
  const failed: unknown[] = [];
  const version = makeVersion();
  const { predict } = setUp({
    versions: [version],
    observer: {
      onPrediction: ({ totalMs, inputMs, ...e }) => {
        assert.ok(inputMs > 0 && totalMs > inputMs);
        told.push(e);
      },
      onPredictionFailed: ({ totalMs, ...e }) => {
        assert.ok(totalMs > 0);
        failed.push(e);
      },
    },
  });
  await predict({ choice: { bits: 2, activationBits: 8 } }, 3);
  await refused(predict({ choice: { bits: 9 as Width } }), 'invalid_field');
  assert.deepEqual(failed, [], 'what never came to a version is no failure of one');
  await refused(predict({ choice: { budget: { maxEnergyUj: 0 } } }), 'budget_infeasible');
  assert.deepEqual(failed, [{ model: 'toy', version: version.version }]);
  assert.deepEqual(told, [
    {
      model: 'toy',
      version: version.version,
      bits: 2,
      activationBits: 8,
      instances: 3,
      energyUj: 3 * energy(version, at(2, 8)),
      expectedAccuracy: version.manifest.precisions['2x8'].accuracy,
      queueMs: 0.25,
      computeMs: 6,
    },
  ]);
});

test('the steps of a request are told to whom it names, a build only where there was one', async () => {
  const { engine, predict } = setUp();
  type Step = { name: string; facts: Record<string, unknown>; ms: number; error: unknown };
  const told: Step[] = [];
  const steps: StepObserver = {
    onStep: (name, start, end, facts, error) => told.push({ name, facts: { ...facts }, ms: end - start, error }),
  };
  const ask = (request = {}) => {
    told.length = 0;
    return predict({ choice: { bits: 2, activationBits: 8 }, steps, ...request }, 3);
  };
  const names = () => told.map((s) => s.name);
  await ask();
  assert.deepEqual(names(), ['read input', 'choose precision', 'build variant', 'queue', 'compute']);
  const { facts, ms } = told[4];
  const { version, ...ran } = facts;
  const expected = { model: 'toy', batch: 3, bits: 2, activationBits: 8, degraded: undefined, runInstances: 3 };
  assert.deepEqual([ran, typeof version], [expected, 'number']);
  assert.ok(Math.abs(ms - 6) < 1e-6 && Math.abs(told[3].ms - 0.25) < 1e-6, 'as long as the engine says');
  await ask();
  assert.deepEqual(names(), ['read input', 'choose precision', 'queue', 'compute']);
  await refused(ask({ body: { kind: 'raw', dtype: 'uint8', bytes: new Uint8Array(1) } }), 'wrong_shape');
  assert.deepEqual(names(), ['read input']);
  assert.equal((told[0].error as ServiceError).code, 'wrong_shape');
  engine.onRun = () => Promise.reject(new Error('broken'));
  await assert.rejects(ask(), /broken/);
  assert.equal(told.at(-1)?.name, 'compute');
  assert.match(String(told.at(-1)?.error), /broken/);
});

test('warming up builds the default variant and runs it, and is no prediction', async () => {
  const told: unknown[] = [];
  const { engine, service, predict } = setUp({ observer: { onPrediction: (e) => told.push(e) } });
  await service.warmUp();
  assert.deepEqual(engine.builds, ['8x8']);
  // several at once, one for each thread that the engine may have
  assert.ok(engine.runs.length > 1);
  assert.deepEqual(told, []);
  assert.equal((await predict()).variant.cached, true);
  await refused(setUp({ config: { defaultModel: 'nobody' } }).service.warmUp(), 'model_not_found');
});

test('closing waits for what is in flight, takes nothing more and lets every variant go', async () => {
  const { engine, service, predict } = setUp();
  await predict({ choice: { bits: 2 } });
  const gate = new Gate();
  engine.onRun = () => gate.passed;
  const running = predict({ choice: { bits: 3 } });
  await settle();
  let closed = false;
  const closing = service.close().then(() => {
    closed = true;
  });
  await settle();
  assert.equal(closed, false);
  await refused(predict(), 'not_ready');
  gate.open();
  assert.equal((await running).bits, 3);
  await closing;
  assert.equal(engine.live.size, 0);
});
