import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { correctionsOf, type Variant, type VariantSource } from '../../src/engine/engine.js';
import { NativeEngine } from '../../src/engine/native.js';
import { mappedWeights } from '../../src/engine/native-weights.js';
import { runPlan } from '../../src/engine/reference.js';
import { ServiceError } from '../../src/errors.js';
import { fromFloat16 } from '../../src/model/float16.js';
import type { ClipRule } from '../../src/model/manifest.js';
import { encodeWeights } from '../../src/model/weights.js';
import { bytesAt, floatsAt, intsAt } from '../../src/quantize/arena.js';
import { buildPlan } from '../../src/quantize/build.js';
import { unpackCodes } from '../../src/quantize/packing.js';
import type { ArenaSlice, Plan, PlanOp } from '../../src/quantize/plan.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import { Random } from '../support/random.js';
import { findLibrary, testNet, withCorrections, withRule } from './native-nets.js';

const { library, skip } = findLibrary();
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);
const folder = await mkdtemp(join(tmpdir(), 'bitdial-native-'));
after(() => rm(folder, { recursive: true }));

type LinearOp = Extract<PlanOp, { weights: unknown }>;

/** What the reference plan holds for an op, in the form of NativeEngine.inspect(). */
function held(plan: Plan, op: LinearOp) {
  const { bits, rows, columns, codes: at, scales } = op.weights;
  let weights: Float32Array;
  if (bits === 32) weights = new Float32Array(plan.arena, at.byteOffset, rows * columns);
  else if (bits === 16) {
    weights = Float32Array.from(new Uint16Array(plan.arena, at.byteOffset, rows * columns), fromFloat16);
  } else {
    const codes = new Int8Array(rows * columns);
    unpackCodes(bytesAt(plan.arena, at), bits, 0, codes.length, codes);
    const perRow = scales && floatsAt(plan.arena, scales);
    weights = Float32Array.from(codes, (c, i) => (perRow ? c * perRow[Math.floor(i / columns)] : c));
  }
  const bias = plan.mode === 'integer' ? Float32Array.from(intsAt(plan.arena, op.bias)) : floatsAt(plan.arena, op.bias);
  const factors = (op.multipliers ?? scales) as ArenaSlice | null;
  return { weights, bias: Float32Array.from(bias), scales: factors ? floatsAt(plan.arena, factors) : null };
}

/** Whether a variant holds what the reference plan does, bit for bit. */
function assertHolds(engine: NativeEngine, variant: Variant, plan: Plan, what: string) {
  plan.ops.forEach((op, i) => {
    if (!('weights' in op)) return;
    const got = engine.inspect(variant, i);
    const want = held(plan, op);
    assert.deepEqual(got.weights, want.weights, `${engine.name}, ${what}, op ${i}: weights`);
    assert.deepEqual(got.bias, want.bias, `${engine.name}, ${what}, op ${i}: bias`);
    if (want.scales)
      assert.deepEqual(got.scales, Float32Array.from(want.scales), `${engine.name}, ${what}, op ${i}: scales`);
  });
}

test('codes, scales and biases are those of the reference, for every rule and instruction set', { skip }, async () => {
  const engines = await Promise.all((library?.isas() ?? []).map((isa) => NativeEngine.create({ threads: 2, isa })));
  const rules: ClipRule[] = ['min-max', 'squared-error', 'p-2.4'];
  const count = Math.ceil(120 * share);
  for (let seed = 1; seed <= count; seed++) {
    const { source, random } = testNet(2000 + seed, 8);
    const rule = rules[seed % 3];
    const precision: Precision = {
      weightBits: random.pick([2, 3, 4, 5, 6, 7, 8, 8, 16, 32] as const) as Width,
      activationBits: random.pick([4, 8, 32] as const) as Width,
    };
    const ruled = withCorrections(withRule(source, precision, rule), precision, random);
    const corrections = await correctionsOf(ruled, precision);
    const plan = buildPlan(ruled.graph, await ruled.readWeights(), ruled.manifest, precision, corrections);
    for (const engine of engines) {
      const variant = await engine.build(ruled, precision);
      const what = `seed ${seed}, ${precision.weightBits}x${precision.activationBits}, ${rule}`;
      assertHolds(engine, variant, plan, what);
      engine.release(variant);
    }
  }
  await Promise.all(engines.map((e) => e.close()));
});

test('so are they for long rows of all kinds, where the search leaves out what it can tell to be worse', {
  skip,
}, async () => {
  const engines = await Promise.all((library?.isas() ?? []).map((isa) => NativeEngine.create({ threads: 2, isa })));
  const count = Math.ceil(24 * share);
  for (let seed = 1; seed <= count; seed++) {
    const channels = new Random(seed).integer(12, 170);
    const { source, random } = testNet(4000 + seed, 0, [
      { channels, kernel: 1, stride: 3 },
      { channels: 21, kernel: 5, stride: 2 },
    ]);
    const weights = new Map(await source.readWeights());
    const [name, { shape }] = [...weights].find(([, w]) => w.shape[0] === 5) ?? assert.fail('expected a 5×5 kernel');
    const rows = Array.from({ length: 21 }, (_, row) => longRow(random, row, 25 * channels));
    weights.set(name, {
      shape,
      data: Float32Array.from({ length: 21 * 25 * channels }, (_, i) => rows[i % 21][Math.floor(i / 21)]),
    });
    const precision: Precision = { weightBits: random.pick([2, 3, 4, 4, 5, 8] as const), activationBits: 8 };
    const long: VariantSource = { ...source, readWeights: async () => weights };
    const plan = buildPlan(source.graph, weights, source.manifest, precision);
    for (const engine of engines) {
      const variant = await engine.build(long, precision);
      assertHolds(engine, variant, plan, `seed ${seed}, ${precision.weightBits} bits, ${25 * channels} weights`);
      engine.release(variant);
    }
  }
  await Promise.all(engines.map((e) => e.close()));
});

/** Normal, skewed, heavy-tailed, on the levels of a width or all but, with an outlier, mostly zeros, all alike. */
function longRow(random: Random, kind: number, length: number): Float32Array {
  const scale = 10 ** random.integer(-4, 0);
  const level = scale * (0.1 + random.next());
  const top = 2 ** random.integer(1, 4);
  const near = random.pick([0, 1e-7, 1e-3]);
  const row = random.normals(length, scale).map((v) => {
    if (kind % 9 === 1) return Math.abs(v);
    if (kind % 9 === 2) return v ** 3 / scale ** 2;
    if (kind % 9 === 3 || kind % 9 === 4) return level * random.integer(-top, top - 1) * (1 + near * random.normal());
    if (kind % 9 === 5) return random.chance(0.03) ? v : 0;
    if (kind % 9 === 6) return v + 2 * scale;
    return kind % 9 === 7 ? -level : v;
  });
  if (kind % 4 === 0) row[random.integer(0, length - 1)] = 20 * scale;
  return row;
}

test('memoryBytes is what the native side holds: packed codes, scales and biases', { skip }, async () => {
  const engine = await NativeEngine.create({ threads: 1 });
  const before = library?.planBytes() ?? 0;
  const { source } = testNet(7, 0, [
    { channels: 33, kernel: 3, stride: 1 },
    { channels: 64, kernel: 3, stride: 1 },
    { channels: 70, kernel: 3, stride: 2 },
  ]);
  let sum = 0;
  const variants = [];
  for (const weightBits of [2, 3, 4, 5, 6, 7, 8, 16, 32] as const) {
    const activationBits = weightBits > 8 ? weightBits : 8;
    const variant = await engine.build(source, { weightBits, activationBits });
    variants.push(variant);
    sum += variant.memoryBytes;
    assert.equal((library?.planBytes() ?? 0) - before, sum);
    let codes = 0;
    let rest = 0;
    for (const op of variant.plan.ops) {
      if (!('weights' in op)) continue;
      codes += (op.weights.rows * op.weights.columns * weightBits) / 8;
      rest += op.weights.rows * 8;
    }
    assert.ok(variant.memoryBytes >= codes, `${weightBits} bits: ${variant.memoryBytes} bytes for ${codes} of codes`);
    assert.ok(
      variant.memoryBytes <= 1.05 * codes + rest,
      `${weightBits} bits: ${variant.memoryBytes}, ${codes} + ${rest}`,
    );
  }
  for (const variant of variants) engine.release(variant);
  assert.equal(library?.planBytes(), before);
  await engine.close();
});

test('a version of one float32 file is mapped, checked by its digest, and gives the same variant', {
  skip,
}, async () => {
  const { source, draw } = testNet(31, 6);
  const weights = await source.readWeights();
  const { manifest, bytes } = encodeWeights(weights);
  const model = JSON.stringify({ weightsManifest: manifest });
  const hash = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
  const files = { 'model.json': hash(model), 'weights.bin': hash(bytes) };
  await writeFile(join(folder, 'model.json'), model);
  await writeFile(join(folder, 'weights.bin'), bytes);
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifestOf(source.manifest, files)));
  const found = await mappedWeights(folder);
  assert.ok(found, 'the folder should be mapped');
  for (const [name, { data }] of weights) assert.equal((found.get(name) as [number, number])[1], data.length);

  const engine = await NativeEngine.create({ threads: 2 });
  const readWeights = () => assert.fail('the floats should not be read');
  const precision: Precision = { weightBits: 5, activationBits: 8 };
  const variant = await engine.build({ ...source, folder, readWeights }, precision);
  const input = draw(3);
  const { logits } = await engine.run(variant, input, 3);
  assert.deepEqual(logits, runPlan(buildPlan(source.graph, weights, source.manifest, precision), input, 3));

  bytes[5] ^= 1;
  await writeFile(join(folder, 'weights.bin'), bytes);
  assert.equal(await mappedWeights(folder), null, 'a file of another digest is not mapped');
  await writeFile(join(folder, 'weights.bin'), bytes.subarray(4));
  assert.equal(await mappedWeights(folder), null, 'nor one of another size');
  await engine.close();
});

test('what cannot be built is an error in words, and the engine goes on', { skip }, async () => {
  const engine = await NativeEngine.create({ threads: 2 });
  const { source, draw } = testNet(5, 4);
  const weights = new Map(await source.readWeights());
  const [first] = weights.keys();
  const precision: Precision = { weightBits: 4, activationBits: 8 };
  const { shape, data } = weights.get(first) as { shape: number[]; data: Float32Array };
  const broken = (replaced: Float32Array | null) => {
    const changed = new Map(weights);
    if (replaced) changed.set(first, { shape, data: replaced });
    else changed.delete(first);
    return engine.build({ ...source, readWeights: async () => changed }, precision);
  };
  const isBadModel = (error: Error) => error instanceof ServiceError && error.code === 'bad_model';
  await assert.rejects(broken(data.map((v, i) => (i === 0 ? Number.NaN : v))), isBadModel);
  await assert.rejects(broken(null), isBadModel);
  await assert.rejects(broken(data.subarray(1)), /expected \d+ numbers, got \d+/);
  const variant = await engine.build(source, precision);
  await assert.rejects(engine.run(variant, draw(2), 1), /expected batch × \d+ numbers/);
  const { logits } = await engine.run(variant, draw(2), 2);
  assert.ok(logits.length > 0);
  await engine.close();
});

/** A manifest that parses, around what the net says. */
function manifestOf(part: ReturnType<typeof testNet>['source']['manifest'], files: Record<string, string>) {
  return {
    format: 'bitdial/1',
    model: 'tiny',
    created: '2026-01-01T00:00:00Z',
    labels: ['no', 'yes'],
    default_precision: '8x8',
    precisions: {},
    training: null,
    ...part,
    files,
  };
}
