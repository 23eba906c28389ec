import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeEngine } from '../../src/engine/native.js';
import { runPlan } from '../../src/engine/reference.js';
import { WorkerEngine } from '../../src/engine/workers.js';
import { exportGraph } from '../../src/model/export.js';
import type { Graph, Weights } from '../../src/model/graph.js';
import { floatsAt } from '../../src/quantize/arena.js';
import { buildFused } from '../../src/quantize/build.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import type { Precision } from '../../src/quantize/precision.js';
import { prefixTo } from '../../src/quantize/prefix.js';
import { appraise } from '../../src/training/appraisal.js';
import { BiasCorrector, withCorrections } from '../../src/training/bias-correction.js';
import type { Dataset, Split } from '../../src/training/datasets/dataset.js';
import { chooseQuantizer } from '../../src/training/quantizer-choice.js';
import { TrainingCancelled } from '../../src/training/request.js';
import { type Candidate, Runners } from '../../src/training/runner.js';
import { isBetter, type Score } from '../../src/training/score.js';
import { findLibrary, testNet } from '../engine/native-nets.js';
import { openStore } from '../model/opened-store.js';
import { Random } from '../support/random.js';

const CLASSES = 5;
const FOUR: Precision = { weightBits: 4, activationBits: 4 };

/** A dense layer whose weights are drawn one by one, and images whose labels are what the floats say. */
function teacher(
  draw: (input: number, random: Random) => number,
  pixel: (i: number, random: Random) => number,
  size: number,
) {
  const random = new Random(21);
  const nodes: Graph['nodes'] = [
    { op: 'input', name: 'input', inputs: [], shape: [size] },
    { op: 'dense', name: 'f0', inputs: ['input'], shape: [CLASSES], kernel: 'f0/kernel', bias: 'f0/bias' },
  ];
  const graph: Graph = { nodes, input: 'input', output: 'f0' };
  const kernel = Float32Array.from({ length: size * CLASSES }, (_, i) => draw(Math.floor(i / CLASSES), random));
  const weights: Weights = new Map([
    ['f0/kernel', { shape: [size, CLASSES], data: kernel }],
    ['f0/bias', { shape: [CLASSES], data: new Float32Array(CLASSES) }],
  ]);
  const input = {
    shape: [1, 1, size] as [number, number, number],
    range: [-1, 1] as [number, number],
    resize: 'fill' as const,
  };
  const manifest = { input, ranges: {}, quantizer: { clip_rules: {}, minimum_bits: {} } };
  const images = Float32Array.from({ length: 600 * size }, (_, i) => pixel(i % size, random));
  const labels = Int32Array.from({ length: 600 }, (_, n) => {
    const logits = Array.from({ length: CLASSES }, (_, c) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += images[n * size + i] * kernel[i * CLASSES + c];
      return sum;
    });
    return logits.indexOf(Math.max(...logits));
  });
  const split: Split = {
    size: 600,
    batch: async (indices) => ({
      input: Float32Array.from(
        { length: indices.length * size },
        (_, i) => images[indices[Math.floor(i / size)] * size + (i % size)],
      ),
      labels: Int32Array.from({ length: indices.length }, (_, i) => labels[indices[i]]),
    }),
  };
  const version: Candidate = { graph, weights, manifest };
  return { version, split };
}

/** A few weights are far out, and their inputs tell no more than others: to keep them whole spoils the rest. */
const heavyTailed = () =>
  teacher(
    (_, random) => random.normals(1, 0.3)[0] + (random.chance(0.01) ? random.pick([4, -4]) : 0),
    (_, random) => 2 * random.next() - 1,
    200,
  );

/** The large weights are those of the two inputs that all depends on: to clip them spoils the answer. */
const ledByFew = () =>
  teacher(
    (input, random) => (input < 2 ? random.pick([1, -1]) * (2 + 6 * random.next()) : random.normals(1, 0.3)[0]),
    (input, random) => (input < 2 ? 2 * random.next() - 1 : 0.002 * random.next()),
    200,
  );

test('where weights have heavy tails a least-error rule is chosen, where the large ones lead min-max is', async () => {
  const choice = async ({ version, split }: ReturnType<typeof teacher>) => {
    const { quantizer, measured } = await chooseQuantizer(version, split, { precisions: [FOUR] });
    return { rule: quantizer.clip_rules['4x4'], accuracy: measured['4x4'].accuracy };
  };
  const tailed = await choice(heavyTailed());
  assert.notEqual(tailed.rule, 'min-max');
  const led = await choice(ledByFew());
  assert.equal(led.rule, 'min-max');
  assert.ok(tailed.accuracy > 0.8 && led.accuracy > 0.9, JSON.stringify({ tailed, led }));
});

test('cross-entropy decides where it is sure, and accuracy has the last word', () => {
  const score = (right: number[], loss: number[]): Score => ({
    right: Uint8Array.from(right),
    loss: Float64Array.from(loss),
  });
  const random = new Random(8);
  const n = 100;
  const held = score(
    Array(n).fill(1),
    [...random.normals(n, 0.1)].map((v) => 1 + v),
  );
  const moved = (by: number, noise = 0.01) => [...held.loss].map((v) => v + by + random.normals(1, noise)[0]);
  assert.ok(isBetter(score(Array(n).fill(1), moved(-0.1)), held));
  assert.ok(!isBetter(score(Array(n).fill(1), moved(0.1)), held));
  assert.ok(!isBetter(score(Array(n).fill(1), moved(-0.001, 0.5)), held), 'within its error');
  assert.ok(!isBetter(held, held), 'equal is not better');
  const worse = Array.from({ length: n }, (_, i) => (i < 5 ? 0 : 1));
  assert.ok(!isBetter(score(worse, moved(-0.1)), held), 'five images lost are more than chance');
  assert.ok(isBetter({ ...held, loss: Float64Array.from(moved(0.1)) }, score(worse, [...held.loss])), 'five won');
  assert.ok(!isBetter(score([1], [0.5]), score([1], [1])), 'of one image nothing is known');
});

test('corrections bring the mean of every channel back to that of the float net', async () => {
  const runners = await Runners.open();
  let before = 0;
  let after = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const { source, random, draw } = testNet(9000 + seed, 7);
    const [height, width, channels] = source.manifest.input.shape;
    const size = height * width * channels;
    const images = draw(24);
    const split: Split = {
      size: 24,
      batch: async (indices) => ({
        input: Float32Array.from(Array.from(indices).flatMap((n) => [...images.subarray(n * size, (n + 1) * size)])),
        labels: new Int32Array(indices.length),
      }),
    };
    const weights = await source.readWeights();
    const version: Candidate = { graph: source.graph, weights, manifest: source.manifest };
    const precision: Precision = { weightBits: random.pick([2, 3, 4]), activationBits: random.pick([3, 4, 8]) };
    const corrector = await BiasCorrector.over(version, { split, first: 0, count: 24 }, runners, () => false);
    const found = await corrector.measure(version, precision);
    const corrected = withCorrections(version, precision, found);
    const fused = fuseGraph(source.graph);
    for (const op of fused.ops) {
      if (op.kind === 'other') continue;
      const prefix = prefixTo(fused, op);
      const means = (taken: Map<string, Float32Array>, at: Precision) => {
        const plan = buildFused(prefix, weights, corrected.manifest, at, taken);
        const values = runPlan(plan, images, 24);
        const rows = op.node.shape[op.node.shape.length - 1];
        const last = plan.ops[plan.ops.length - 1];
        const steps = 'weights' in last && last.multipliers ? floatsAt(plan.arena, last.multipliers) : null;
        const sums = Array.from({ length: rows }, (_, c) => {
          let sum = 0;
          for (let i = c; i < values.length; i += rows) sum += values[i];
          return (sum * rows) / values.length;
        });
        return { sums, steps };
      };
      const float = means(new Map(), { weightBits: 32, activationBits: 32 }).sums;
      const own = new Map([...found].filter(([name]) => name !== op.node.name));
      const uncorrected = means(own, precision).sums;
      const { sums, steps } = means(new Map(found), precision);
      sums.forEach((mean, c) => {
        // A bias is a whole number of steps.
        const step = Math.abs(steps?.[c] ?? 0);
        const error = Math.abs(mean - float[c]);
        assert.ok(
          error <= 0.51 * step + 1e-4 * Math.max(1, Math.abs(float[c])),
          `seed ${seed}, ${op.node.name}: ${error}`,
        );
        before += Math.abs(uncorrected[c] - float[c]);
        after += error;
      });
    }
  }
  assert.ok(after < before / 4, `mean errors ${before} before, ${after} after`);
  await runners.close();
});

test('test images are not looked at before everything is chosen', async () => {
  const { version, split } = heavyTailed();
  const shares: number[] = [];
  const never: Split = {
    size: 600,
    batch: async () => {
      throw new Error(`the test split was read at ${shares.at(-1)}`);
    },
  };
  const { inputRange, augmentation } = {
    inputRange: [-1, 1] as [number, number],
    augmentation: { shift: 0, flip: false },
  };
  const labels = Array.from({ length: CLASSES }, (_, i) => String(i));
  const rest = { name: 'taught', inputShape: version.manifest.input.shape, inputRange, augmentation, labels };
  const dataset: Dataset = { ...rest, train: never, validation: split, test: never };
  const options = { energyTable: HOROWITZ_45NM, onProgress: (share: number) => void shares.push(share) };
  await assert.rejects(appraise(version, dataset, options), { message: 'the test split was read at 0.5' });
});

test('a choice is cancelled between batches, and says how far it is', async () => {
  const { version, split } = ledByFew();
  const shares: number[] = [];
  let asked = 0;
  const options = { precisions: [FOUR], onProgress: (share: number) => void shares.push(share) };
  await chooseQuantizer(version, split, options);
  assert.ok(shares.length > 20 && shares.at(-1) === 1);
  assert.ok(
    shares.every((share, i) => share <= 1 && (i === 0 || share >= shares[i - 1])),
    `${shares}`,
  );
  const cancelled = { ...options, isCancelled: () => ++asked > 20 };
  await assert.rejects(chooseQuantizer(version, split, cancelled), TrainingCancelled);
  assert.equal(asked, 21);
});

test('what was chosen is published, and every engine quantises by it without data', async () => {
  const { source, draw } = testNet(77, 6);
  const weights = await source.readWeights();
  const version: Candidate = { graph: source.graph, weights, manifest: source.manifest };
  const images = draw(60);
  const size = images.length / 60;
  const classes = source.graph.nodes
    .find(({ name }) => name === source.graph.output)
    ?.shape.reduce((a, b) => a * b, 1) as number;
  const split: Split = {
    size: 60,
    batch: async (indices) => ({
      input: Float32Array.from(Array.from(indices).flatMap((n) => [...images.subarray(n * size, (n + 1) * size)])),
      labels: Int32Array.from(indices, (n) => n % classes),
    }),
  };
  const runners = await Runners.open();
  const precision: Precision = { weightBits: 3, activationBits: 4 };
  const corrector = await BiasCorrector.over(version, { split, first: 40, count: 20 }, runners, () => false);
  const found = await corrector.measure(version, precision);
  const candidate = withCorrections(version, precision, found);
  const runner = await runners.runner(candidate, precision);
  const plain = await runners.runner(version, precision);
  const expected = await runner.run(images, 60);
  assert.notDeepEqual(expected, await plain.run(images, 60));
  await runners.close();

  const { store } = await openStore();
  const published = await store.publish(
    {
      manifest: {
        ...candidate.manifest,
        model: 'tiny',
        labels: Array.from({ length: classes }, (_, i) => String(i)),
        default_precision: '8x8',
        precisions: {},
        training: null,
      },
      topology: exportGraph(source.graph),
      weights: exported(source.graph.nodes, weights),
      corrections: candidate.corrections,
    },
    { makeCurrent: true },
  );
  const engines = [await WorkerEngine.create({ threads: 1 })] as (WorkerEngine | NativeEngine)[];
  if (findLibrary().library) engines.push(await NativeEngine.create({ threads: 1 }));
  for (const engine of engines) {
    const variant = await engine.build(store.source(published), precision);
    assert.deepEqual((await engine.run(variant, images, 60)).logits, expected, engine.name);
    await engine.close();
  }
});

/** Weights by the names that the exported document gives them. */
function exported(nodes: Candidate['graph']['nodes'], weights: Weights): Weights {
  const stored: Weights = new Map();
  const names = {
    kernel: 'kernel',
    bias: 'bias',
    gamma: 'gamma',
    beta: 'beta',
    mean: 'moving_mean',
    variance: 'moving_variance',
  };
  for (const node of nodes) {
    for (const [field, name] of Object.entries(names)) {
      const from = (node as unknown as Record<string, unknown>)[field];
      if (typeof from !== 'string') continue;
      const kept = field === 'kernel' && node.op === 'depthwise_conv2d' ? 'depthwise_kernel' : name;
      stored.set(`${node.name}/${kept}`, weights.get(from) as NonNullable<ReturnType<Weights['get']>>);
    }
  }
  return stored;
}
