import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeEngine } from '../../src/engine/native.js';
import { runPlan } from '../../src/engine/reference.js';
import { WorkerEngine } from '../../src/engine/workers.js';
import { exportGraph } from '../../src/model/export.js';
import type { Weights } from '../../src/model/graph.js';
import { floatsAt } from '../../src/quantize/arena.js';
import { buildFused } from '../../src/quantize/build.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import type { Precision } from '../../src/quantize/precision.js';
import { prefixTo } from '../../src/quantize/prefix.js';
import { BiasCorrector, withCorrections } from '../../src/training/bias-correction.js';
import type { Split } from '../../src/training/datasets/dataset.js';
import { type Candidate, Runners } from '../../src/training/runner.js';
import { findLibrary, testNet } from '../engine/native-nets.js';
import { openStore } from '../model/opened-store.js';

/** Images one after the other, with labels of no meaning. */
function splitOf(images: Float32Array, size: number): Split {
  const count = images.length / size;
  return {
    size: count,
    batch: async (indices) => ({
      input: Float32Array.from(Array.from(indices).flatMap((n) => [...images.subarray(n * size, (n + 1) * size)])),
      labels: new Int32Array(indices.length),
    }),
  };
}

test('corrections bring the mean of every channel back to that of the float net', async () => {
  const runners = await Runners.open();
  let before = 0;
  let after = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const { source, random, draw } = testNet(9000 + seed, 7);
    const [height, width, channels] = source.manifest.input.shape;
    const size = height * width * channels;
    const images = draw(24);
    const split = splitOf(images, size);
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

test('what was chosen is published, and every engine quantises by it without data', async () => {
  const { source, draw } = testNet(77, 6);
  const weights = await source.readWeights();
  const version: Candidate = { graph: source.graph, weights, manifest: source.manifest };
  const images = draw(60);
  const size = images.length / 60;
  const classes = source.graph.nodes
    .find(({ name }) => name === source.graph.output)
    ?.shape.reduce((a, b) => a * b, 1) as number;
  const split = splitOf(images, size);
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
