/** Every operation of native/training/ against plain loops, on every instruction set, and the same on any number of threads. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { trainingLibrary } from '../../src/tensorflow/native/trainer.js';
import { findLibrary } from '../engine/native-nets.js';
import { Random } from '../support/random.js';
import * as plain from './operations.js';

const { skip } = findLibrary();
const library = skip ? null : trainingLibrary();
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);
const trials = (count: number) => Math.ceil(count * share);
const trainers = (library?.trainingIsas() ?? []).flatMap((isa) =>
  [1, 3].map((threads) => new (library as NonNullable<typeof library>).Trainer(threads, isa)),
);
after(() => {
  for (const trainer of trainers) trainer.close();
});

/** Tensors of one call: inputs side by side, then the outputs, with marks between that must stay. */
const MARK = 1234.5;
const GAP = 3;

/**
 * Runs an operation everywhere.
 * @param words before the tensors
 * @param expected what each output must hold, to `tolerance` of its largest number
 */
function check(
  what: string,
  operation: string,
  words: number[],
  inputs: Float32Array[],
  expected: ArrayLike<number>[],
  tolerance = 1e-5,
): void {
  const first = new Map<string, Float32Array>();
  for (const trainer of trainers) {
    const sizes = [...inputs, ...expected].map(({ length }) => length);
    const floats = new Float32Array(sizes.reduce((sum, size) => sum + size + GAP, GAP)).fill(MARK);
    const starts: number[] = [];
    let at = GAP;
    for (const [i, size] of sizes.entries()) {
      starts.push(at);
      if (i < inputs.length) floats.set(inputs[i], at);
      at += size + GAP;
    }
    const offsets = starts.map((start) => 4 * start);
    trainer.run(operation, new Uint8Array(floats.buffer), Float64Array.of(...words, ...offsets));
    const name = `${operation}, ${what}, ${trainer.isa}, ${trainer.threads} threads`;
    for (const [i, start] of starts.entries()) {
      assert.ok(
        floats.subarray(start - GAP, start).every((v) => v === MARK),
        `${name}: wrote before tensor ${i}`,
      );
      if (i < inputs.length)
        assert.deepEqual(floats.subarray(start, start + sizes[i]), inputs[i], `${name}: input ${i}`);
    }
    assert.ok(
      floats.subarray(at - GAP).every((v) => v === MARK),
      `${name}: wrote past the last tensor`,
    );
    for (const [i, wanted] of expected.entries()) {
      const got = floats.subarray(starts[inputs.length + i], starts[inputs.length + i] + wanted.length);
      close(`${name}, output ${i}`, got, wanted, tolerance);
    }
    const seen = first.get(trainer.isa);
    if (seen) assert.deepEqual(floats, seen, `${name}: not as on one thread`);
    first.set(trainer.isa, floats);
  }
}

function close(name: string, got: Float32Array, wanted: ArrayLike<number>, tolerance: number): void {
  let scale = 1;
  for (let i = 0; i < wanted.length; i++) if (!Number.isNaN(wanted[i])) scale = Math.max(scale, Math.abs(wanted[i]));
  for (let i = 0; i < wanted.length; i++) {
    const near = Number.isNaN(wanted[i]) ? Number.isNaN(got[i]) : Math.abs(got[i] - wanted[i]) <= tolerance * scale;
    if (!near) {
      assert.fail(`${name}, element ${i}: expected ${wanted[i]}, got ${got[i]}`);
    }
  }
}

const CHANNELS = [1, 2, 3, 5, 8, 15, 16, 17, 20, 31, 32, 33, 48, 50];

/** A window over an image, with the padding of `same` or `valid`. */
function randomWindow(random: Random, depthwise: boolean): plain.Window {
  const [height, width] = [random.integer(1, 5), random.integer(1, 5)];
  const [strideY, strideX] = [random.pick([1, 1, 2, 3]), random.pick([1, 1, 2, 3])];
  const same = random.chance(0.5);
  const [inHeight, inWidth] = [height + random.integer(0, 9), width + random.integer(0, 12)];
  const out = (size: number, kernel: number, stride: number) =>
    same ? Math.ceil(size / stride) : Math.ceil((size - kernel + 1) / stride);
  const [outHeight, outWidth] = [out(inHeight, height, strideY), out(inWidth, width, strideX)];
  const pad = (o: number, stride: number, kernel: number, size: number) =>
    same ? Math.floor(Math.max((o - 1) * stride + kernel - size, 0) / 2) : 0;
  const inChannels = random.pick(CHANNELS);
  return {
    batch: random.integer(1, 5),
    inHeight,
    inWidth,
    inChannels,
    outHeight,
    outWidth,
    outChannels: depthwise ? inChannels : random.pick(CHANNELS),
    height,
    width,
    strideY,
    strideX,
    top: pad(outHeight, strideY, height, inHeight),
    left: pad(outWidth, strideX, width, inWidth),
  };
}

const describe = (w: plain.Window) => JSON.stringify(Object.values(w));

function tensorsOf(random: Random, w: plain.Window, depthwise: boolean) {
  const { batch, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels, height, width } = w;
  return {
    x: random.normals(batch * inHeight * inWidth * inChannels),
    filter: random.normals(height * width * inChannels * (depthwise ? 1 : outChannels)),
    dy: random.normals(batch * outHeight * outWidth * outChannels),
  };
}

for (const depthwise of [false, true]) {
  const kind = depthwise ? 'depthwise' : 'convolution';
  test(`${kind} and its gradients`, { skip }, () => {
    const random = new Random(depthwise ? 2 : 1);
    for (let trial = 0; trial < trials(60); trial++) {
      const w = randomWindow(random, depthwise);
      // Some are one tap without padding: those are products of matrices.
      if (trial % 6 === 0) {
        Object.assign(w, { height: 1, width: 1, strideY: 1, strideX: 1, top: 0, left: 0 });
        Object.assign(w, { outHeight: w.inHeight, outWidth: w.inWidth });
      }
      const { x, filter, dy } = tensorsOf(random, w, depthwise);
      const words = Object.values(w);
      const what = describe(w);
      check(what, kind, words, [x, filter], [plain.convolution(w, depthwise, x, filter)]);
      check(what, `${kind}-input-gradient`, words, [dy, filter], [plain.inputGradient(w, depthwise, dy, filter)]);
      check(what, `${kind}-filter-gradient`, words, [x, dy], [plain.filterGradient(w, depthwise, x, dy)]);
    }
  });
}

test('sums over many images and over images larger than a cache', { skip }, () => {
  const random = new Random(3);
  const small = { batch: 40, inHeight: 6, inWidth: 5, inChannels: 7, outHeight: 6, outWidth: 5, outChannels: 18 };
  const large = { batch: 2, inHeight: 90, inWidth: 70, inChannels: 16, outHeight: 45, outWidth: 35, outChannels: 3 };
  const kernel = { height: 3, width: 3, top: 1, left: 1 };
  for (const w of [
    { ...small, ...kernel, strideY: 1, strideX: 1 },
    { ...large, ...kernel, strideY: 2, strideX: 2, top: 0, left: 0 },
  ]) {
    const ordered: plain.Window = { ...randomWindow(random, false), ...w };
    const { x, filter, dy } = tensorsOf(random, ordered, false);
    const words = Object.values(ordered);
    check('many', 'convolution', words, [x, filter], [plain.convolution(ordered, false, x, filter)]);
    check('many', 'convolution-filter-gradient', words, [x, dy], [plain.filterGradient(ordered, false, x, dy)]);
  }
});

test('products, also of transposed operands and long sums', { skip }, () => {
  const random = new Random(4);
  for (let trial = 0; trial < trials(60); trial++) {
    const [m, k, n] = [random.integer(1, 150), random.integer(1, 60), random.pick([...CHANNELS, 100, 130])];
    const sizes: [number, number, number] = trial % 10 === 0 ? [m % 9 || 1, k * 200, 3] : [m, k, n];
    const [transposeA, transposeB] = random.pick([
      [false, false],
      [true, false],
      [false, true],
    ]);
    const [a, b] = [random.normals(sizes[0] * sizes[1]), random.normals(sizes[1] * sizes[2])];
    const words = [1, ...sizes, Number(transposeA), Number(transposeB)];
    const expected = plain.product(...sizes, a, b, transposeA, transposeB);
    check(`${sizes} ${transposeA} ${transposeB}`, 'product', words, [a, b], [expected]);
  }
});

test('max pooling and its gradient, with ties', { skip }, () => {
  const random = new Random(5);
  for (let trial = 0; trial < trials(60); trial++) {
    const w = randomWindow(random, true);
    const { x, dy } = tensorsOf(random, w, true);
    const values = random.pick([x, x.map((v) => Math.round(v)), x.map((v) => -Math.abs(Math.round(v)))]);
    check(describe(w), 'max-pool', Object.values(w), [values], [plain.maxPool(w, values)], 0);
    // What is no number must not be lost, or a training that diverges would not show.
    const hole = values.map((v, i) => (i % 17 === 0 ? Number.NaN : v));
    check(describe(w), 'max-pool', Object.values(w), [hole], [plain.maxPool(w, hole)], 0);
    check(describe(w), 'max-pool-gradient', Object.values(w), [values, dy], [plain.maxPoolGradient(w, values, dy)]);
  }
});

test('batch norm and its gradient, also far from zero', { skip }, () => {
  const random = new Random(6);
  for (let trial = 0; trial < trials(40); trial++) {
    const channels = random.pick([...CHANNELS, 64, 100]);
    const pixels = trial % 8 === 0 ? Math.ceil(100_000 / channels) : random.integer(1, 300);
    const centre = random.pick([0, 0, 1, -30]);
    const x = random.normals(pixels * channels).map((v, i) => v * (1 + (i % channels)) + centre);
    const [gamma, beta] = [random.normals(channels), random.normals(channels)];
    const epsilon = Math.fround(1e-3);
    const { y, mean, variance, backward } = plain.batchNorm(x, gamma, beta, epsilon);
    const what = `${pixels} × ${channels} around ${centre}`;
    const words = [pixels, channels, epsilon];
    check(what, 'batch-norm', words, [x, gamma, beta], [y, mean, variance], 5e-5);
    const dy = random.normals(pixels * channels);
    const { dx, dGamma, dBeta } = backward(dy);
    const statistics = [Float32Array.from(mean), Float32Array.from(variance)];
    check(what, 'normalize', words, [x, ...statistics, gamma, beta], [y], 5e-5);
    check(what, 'batch-norm-gradient', words, [dy, x, gamma, ...statistics], [dx, dGamma, dBeta], 1e-4);
    check(what, 'channel-sums', [pixels, channels], [dy], [plain.channelSums(dy, channels)]);
    check(what, 'add-channels', [pixels, channels], [x, beta], [x.map((v, i) => v + beta[i % channels])]);
  }
});

test('what works element by element', { skip }, () => {
  const random = new Random(7);
  for (const n of [1, 7, 16, 63, 64, 100, 1001, 70_000]) {
    const a = random.normals(n).map((v, i) => (i % 9 === 0 ? 0 : v));
    const b = random.normals(n).map((v, i) => (i % 7 === 0 ? 0 : v));
    for (const top of [Number.POSITIVE_INFINITY, 0.5]) {
      check(`${n}`, 'relu', [n, top], [a], [a.map((v) => Math.min(Math.max(v, 0), top))], 0);
      const passed = a.map((v, i) => (b[i] > 0 && b[i] < top ? v : 0));
      check(`${n}`, 'relu-gradient', [n, top], [a, b], [passed], 0);
    }
    check(`${n}`, 'add', [n], [a, b], [a.map((v, i) => v + b[i])], 0);
    const step = Math.fround(0.3);
    check(`${n}`, 'add-sign', [n, step], [a, b], [a.map((v, i) => v + step * Math.sign(b[i]))], 0);
    check(`${n}`, 'absolute-sum', [n], [a], [[a.reduce((sum, v) => sum + Math.abs(v), 0)]]);
    check(`${n}`, 'square-sum', [n], [a], [[a.reduce((sum, v) => sum + v * v, 0)]]);
    // Halves of steps round to even.
    const halves = a.map((v, i) => (i % 3 === 0 ? Math.round(v * 8) / 8 : v));
    const expected = halves.map((v) => halfToEven(Math.min(Math.max(v, -0.5), 3.25) * 4) / 4);
    check(`${n}`, 'fake-quantize', [n, -0.5, 3.25, 0.25], [halves], [expected], 0);
    const between = a.map((v, i) => (b[i] >= -0.5 && b[i] <= 1 ? v : 0));
    check(`${n}`, 'fake-quantize-gradient', [n, -0.5, 1], [a, b], [between], 0);
  }
});

function halfToEven(x: number): number {
  const down = Math.floor(x);
  return x - down > 0.5 || (x - down === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

test('calls that do not fit are refused, not run', { skip }, () => {
  const [trainer] = trainers;
  const heap = new Uint8Array(1024);
  const run = (name: string, ...words: number[]) => trainer.run(name, heap, Float64Array.of(...words));
  assert.throws(() => run('no-such-thing', 1), /no such operation/);
  assert.throws(() => run('relu', 8, 1), /expected more words/);
  assert.throws(() => run('relu', 8, 1, 0, 32, 64), /expected fewer words/);
  assert.throws(() => run('relu', 8, 1, 0, 1000), /within the heap/);
  assert.throws(() => run('relu', 8, 1, 2, 64), /within the heap/);
  assert.throws(() => run('relu', 8, 1, -4, 64), /within the heap/);
  assert.throws(() => run('relu', 8, 1, Number.NaN, 64), /within the heap/);
  assert.throws(() => run('relu', 0.5, 1, 0, 64), /whole number/);
  assert.throws(() => run('relu', 8, 0, 0, 64), /above 0/);
  assert.throws(() => run('product', 1, 2 ** 30, 2 ** 30, 2 ** 30, 0, 0, 0, 0, 0), /fit the heap/);
  const twins = [1, 4, 4, 1, 4, 4, 2, 1, 1, 1, 1, 0, 0];
  assert.throws(() => run('depthwise', ...twins, 0, 64, 128), /as many channels/);
  assert.doesNotThrow(() => run('relu', 8, 1, 0, 64));
});
