import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { VariantSource } from '../../src/engine/engine.js';
import { runPlan } from '../../src/engine/reference.js';
import { WorkerEngine } from '../../src/engine/workers.js';
import { ServiceError } from '../../src/errors.js';
import { importGraph } from '../../src/model/import.js';
import { readWeights } from '../../src/model/weights.js';
import { randomLayersModel, saveLayersModel } from '../support/layers-models.js';
import { Random } from '../support/random.js';

const folder = await mkdtemp(join(tmpdir(), 'bitdial-engine-'));
const engine = await WorkerEngine.create({ threads: 2 });
after(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const random = new Random(11);
const { document, bytes } = await saveLayersModel(randomLayersModel(random));
const graph = importGraph(document);
const shape = graph.nodes[0].shape as [number, number, number];
const size = shape.reduce((a, b) => a * b, 1);
await writeFile(join(folder, 'weights.bin'), bytes);
await writeFile(join(folder, 'model.json'), JSON.stringify(document));
const source: VariantSource = {
  graph,
  folder,
  manifest: {
    input: { shape, range: [-1, 1], resize: 'fill' },
    ranges: {},
    quantizer: { clip_rules: {}, minimum_bits: {} },
  },
  readWeights: () => readWeights(folder),
};

test('answers on threads are those of the plan on this thread, however many come at once', async () => {
  const variant = await engine.build(source, { weightBits: 4, activationBits: 32 });
  assert.equal(variant.memoryBytes, variant.plan.arena.byteLength);
  assert.ok(variant.buildMs > 0);
  const inputs = Array.from({ length: 40 }, (_, i) => random.normals(size * (1 + (i % 3))));
  const results = await Promise.all(inputs.map((input) => engine.run(variant, input, input.length / size)));
  results.forEach(({ logits, computeMs, queueMs }, i) => {
    assert.deepEqual(logits, runPlan(variant.plan, inputs[i], inputs[i].length / size));
    assert.ok(computeMs >= 0 && queueMs >= 0);
  });
  engine.release(variant);
  const again = await engine.run(variant, inputs[0], 1);
  assert.deepEqual(again.logits, results[0].logits, 'a released plan is posted anew');
});

test('an error on a thread keeps its code and leaves the thread at work', async () => {
  await assert.rejects(engine.build(source, { weightBits: 4, activationBits: 4 }), (error: Error) => {
    assert.ok(error instanceof ServiceError);
    assert.equal(error.code, 'bad_model');
    return true;
  });
  const variant = await engine.build(source, { weightBits: 32, activationBits: 32 });
  await assert.rejects(engine.run(variant, new Float32Array(size + 1), 1), /expected 1 ×/);
  assert.equal((await engine.run(variant, random.normals(size), 1)).logits.length > 0, true);
});

test('a closed engine refuses work', async () => {
  const other = await WorkerEngine.create({ threads: 1 });
  const variant = await other.build(source, { weightBits: 32, activationBits: 32 });
  await other.close();
  await assert.rejects(other.run(variant, random.normals(size), 1), /closed/);
});

test('the tfjs engine answers nearly as the reference engine, and says what its weights hold', async () => {
  const tfjs = await WorkerEngine.createTfjs();
  assert.match(tfjs.name, /^tfjs-(wasm|tensorflow)$/);
  const variant = await tfjs.build(source, { weightBits: 32, activationBits: 32 });
  assert.equal(variant.engine, tfjs.name);
  assert.ok(variant.memoryBytes > 1.9 * variant.plan.arena.byteLength);
  const input = random.normals(size * 2);
  const { logits } = await tfjs.run(variant, input, 2);
  const want = runPlan(variant.plan, input, 2);
  const norm = Math.max(...want.map(Math.abs));
  want.forEach((v, i) => {
    assert.ok(Math.abs(v - logits[i]) <= 1e-4 * norm, `expected ${v}, got ${logits[i]}`);
  });
  tfjs.release(variant);
  await tfjs.close();
});
