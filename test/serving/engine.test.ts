import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import { WorkerEngine } from '../../src/engine/workers.js';
import { importGraph } from '../../src/model/import.js';
import type { InputSpec, PrecisionRecord } from '../../src/model/manifest.js';
import { ModelStore } from '../../src/model/store.js';
import { decodeWeights } from '../../src/model/weights.js';
import { buildPlan } from '../../src/quantize/build.js';
import { energyUj, HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { parsePrecision, precisionKey, STANDARD_PRECISIONS } from '../../src/quantize/precision.js';
import { createPredictionService } from '../../src/serving/service.js';
import { softmax } from '../../src/serving/softmax.js';
import { randomLayersModel, saveLayersModel } from '../support/layers-models.js';
import { Random } from '../support/random.js';

// The real engine on threads, the real store on disk, a net of every layer, and a cache too small for all variants.
const folder = await mkdtemp(join(tmpdir(), 'bitdial-serving-'));
const engine = await WorkerEngine.create({ threads: 2 });
after(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const random = new Random(21);
const { document, bytes } = await saveLayersModel(randomLayersModel(random));
const graph = importGraph(document);
const weights = await decodeWeights(document, async () => bytes);
const shape = graph.nodes[0].shape as [number, number, number];
const size = shape.reduce((a, b) => a * b, 1);
const input: InputSpec = { shape, range: [-1, 1], resize: 'fill' };
const noise = (length: number) => Float32Array.from({ length }, () => random.next() * 2 - 1);
const classes = graph.nodes.find((node) => node.name === graph.output)?.shape[0] as number;
const labels = Array.from({ length: classes }, (_, i) => `class ${i}`);
const source = {
  input,
  ranges: calibrate(graph, weights, input, [{ input: noise(size * 16), batch: 16 }]),
  quantizer: { clip_rules: {}, minimum_bits: {} },
};
const row: PrecisionRecord = { accuracy: 0.5, images: 1, memory_bytes: 0, macs: 0, energy_uj: 0 };
const store = new ModelStore({ modelsDir: join(folder, 'models'), dataDir: join(folder, 'data') });
const { weightsManifest: _, ...topology } = document;
await store.publish(
  {
    manifest: {
      ...source,
      model: 'net',
      labels,
      default_precision: '8x8',
      precisions: Object.fromEntries(STANDARD_PRECISIONS.map((p) => [precisionKey(p), row])),
      training: null,
    },
    topology,
    weights,
  },
  { makeCurrent: true },
);
const plans = new Map(STANDARD_PRECISIONS.map((p) => [precisionKey(p), buildPlan(graph, weights, source, p)]));
const largest = Math.max(...[...plans.values()].map((plan) => plan.arena.byteLength));
const config = {
  defaultModel: 'net',
  defaultBits: '',
  variantCacheBytes: Math.ceil(largest * 1.5),
  maxBatch: 8,
  maxImagePixels: 10_000,
  maxQueue: 500,
  batching: 'on',
  batchWaitMs: 0,
  overloadStatus: '503',
  overloadPolicy: 'reject',
  degradeWaitMs: 50,
  degradeMaxDrop: 0.02,
  powerBudgetMw: 0,
};

test('answers are those of the plan, whatever comes and goes in the cache meanwhile', async () => {
  let evicted = 0;
  const observer = { onVariantEvicted: () => void evicted++ };
  const service = createPredictionService({ config, store, engine, energyTable: HOROWITZ_45NM, observer });
  await service.warmUp();
  const client = async () => {
    for (let i = 0; i < 20; i++) {
      const precision = random.pick(STANDARD_PRECISIONS);
      const plan = plans.get(precisionKey(precision));
      assert.ok(plan);
      const batch = random.integer(1, 4);
      const values = noise(size * batch);
      const answer = await service.predict({
        choice: { bits: precision.weightBits, activationBits: precision.activationBits },
        topK: classes,
        body: { kind: 'raw', dtype: 'float32', bytes: new Uint8Array(values.buffer) },
      });
      const logits = runPlan(plan, values, batch);
      answer.predictions.forEach((prediction, n) => {
        const want = softmax(logits, n * classes, classes);
        for (const { index, label, probability } of prediction.top) {
          assert.equal(probability, want[index]);
          assert.equal(label, labels[index]);
        }
        assert.equal(prediction.top.length, classes);
        assert.equal(prediction.probability, Math.max(...want));
      });
      assert.equal(answer.cost.memory_bytes, plan.arena.byteLength);
      assert.equal(answer.cost.energy_uj, energyUj(plan, HOROWITZ_45NM) * batch);
      const resident = service.variants().reduce((sum, v) => sum + v.memory_bytes, 0);
      assert.ok(resident <= config.variantCacheBytes);
    }
  };
  await Promise.all(Array.from({ length: 6 }, client));
  assert.ok(evicted > 10, `${evicted} evictions`);
  await service.close();
  assert.deepEqual(service.variants(), []);
});

test('a latency budget is answered with this machine measured', async () => {
  const service = createPredictionService({ config, store, engine, energyTable: HOROWITZ_45NM });
  const body = { kind: 'raw', dtype: 'uint8', bytes: new Uint8Array(size) } as const;
  const answer = await service.predict({ choice: { budget: { maxLatencyMs: 60_000 } }, body });
  const cheapest = [...plans].sort(([, a], [, b]) => energyUj(a, HOROWITZ_45NM) - energyUj(b, HOROWITZ_45NM))[0][0];
  const { weightBits, activationBits } = parsePrecision(cheapest);
  assert.deepEqual([answer.bits, answer.activation_bits], [weightBits, activationBits], 'all are equally accurate');
  assert.ok((service.variants()[0].latency_ms as number) > 0);
  await assert.rejects(service.predict({ choice: { budget: { maxLatencyMs: 0 } }, body }), {
    code: 'budget_infeasible',
  });
  await service.close();
});
