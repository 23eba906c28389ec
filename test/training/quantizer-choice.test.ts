import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Graph, Weights } from '../../src/model/graph.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import type { Precision } from '../../src/quantize/precision.js';
import { appraise } from '../../src/training/appraisal.js';
import type { Dataset, Split } from '../../src/training/datasets/dataset.js';
import { chooseQuantizer } from '../../src/training/quantizer-choice.js';
import { TrainingCancelled } from '../../src/training/request.js';
import type { Candidate } from '../../src/training/runner.js';
import { isBetter, type Score } from '../../src/training/score.js';
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
