/** Data sets in the folder of data sets: what is recognised, what is read, and that reading holds no more than a batch. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, readdir, symlink, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { ServiceError } from '../../src/errors.js';
import type { OpenOptions } from '../../src/training/datasets/dataset.js';
import { datasetNames, findDataset } from '../../src/training/datasets/table.js';
import { cifarRecords, idx, idxFiles, imageFiles, shades, writeAll } from '../support/data-files.js';

type Files = Record<string, Buffer | string>;

async function dataDir(t: TestContext, sets: Record<string, Files> = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-folders-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, files] of Object.entries(sets)) await writeAll(join(folder, 'datasets', name), files);
  return folder;
}

async function opened(t: TestContext, files: Files, options: OpenOptions = {}) {
  const dataset = await findDataset('set', await dataDir(t, { set: files }))(options);
  t.after(() => dataset.close());
  return dataset;
}

async function refused(t: TestContext, files: Files, message: RegExp, options: OpenOptions = {}) {
  const dir = await dataDir(t, { set: files });
  await assert.rejects(findDataset('set', dir)(options), (error) => {
    assert.ok(error instanceof ServiceError, String(error));
    assert.match(error.message, message);
    assert.ok(!error.message.includes(dir), `a path of the machine: ${error.message}`);
    return true;
  });
  assert.deepEqual(await readdir(join(dir, 'cache', 'datasets')).catch(() => []), [], 'nothing is left');
}

test('IDX files of any size, grey or colour, are a data set', async (t) => {
  for (const shape of [
    [3, 5],
    [4, 2, 3],
  ]) {
    const dataset = await opened(t, { ...idxFiles(shape, 40, 10), README: 'x' });
    assert.equal(dataset.kind, 'idx');
    assert.deepEqual(dataset.inputShape, [shape[0], shape[1], shape[2] ?? 1]);
    assert.deepEqual(dataset.labels, ['0', '1', '2']);
    assert.deepEqual([dataset.train.size, dataset.validation.size, dataset.test.size], [38, 2, 10]);
    const size = shape.reduce((a, b) => a * b, 1);
    const { input, labels } = await dataset.test.batch([9, 0]);
    assert.deepEqual([...labels], [0, 0]);
    const bytes = [...input].map((x) => Math.round(x * 255));
    const want = (image: number) => Array.from({ length: size }, (_, p) => (7 + image * size + p) % 256);
    assert.deepEqual(bytes, [...want(9), ...want(0)]);
  }
});

test('gzip files are unpacked once, and again only when they change', async (t) => {
  const files = idxFiles([4, 4], 20, 5);
  const packed = Object.fromEntries(Object.entries(files).map(([name, data]) => [`${name}.gz`, gzipSync(data)]));
  const dir = await dataDir(t, { set: packed });
  const cached = () => readdir(join(dir, 'cache', 'datasets'));
  const read = async () => {
    const dataset = await findDataset('set', dir)();
    const { input } = await dataset.train.batch([0, 7, 12]);
    dataset.close();
    return input;
  };
  const first = await read();
  const [kept] = await cached();
  assert.deepEqual(await read(), first);
  assert.deepEqual(await cached(), [kept]);
  const plain = await opened(t, files);
  assert.deepEqual((await plain.train.batch([0, 7, 12])).input, first);
  await writeAll(join(dir, 'datasets', 'set'), {
    'train-images-idx3-ubyte.gz': gzipSync(idx([20, 4, 4], new Uint8Array(320).fill(255))),
  });
  assert.ok((await read()).every((x) => x === 1));
  assert.equal((await cached()).length, 1, 'the old one is gone');
  assert.notDeepEqual(await cached(), [kept]);
});

test('a gzip that becomes too much is refused, and leaves nothing', async (t) => {
  const images = idx([1000, 100, 100], new Uint8Array(10_000_000));
  const files = { ...idxFiles([2, 2], 4, 2), 'train-images-idx3-ubyte.gz': gzipSync(images) };
  delete (files as Files)['train-images-idx3-ubyte'];
  await refused(t, files, /train-images-idx3-ubyte.gz: expected at most 1000000 bytes/, { maxBytes: 1_000_000 });
  const labels = { ...idxFiles([2, 2], 4, 2), 'train-labels-idx1-ubyte.gz': gzipSync(Buffer.alloc(50_000_000)) };
  delete (labels as Files)['train-labels-idx1-ubyte'];
  await refused(t, labels, /train-labels-idx1-ubyte.gz: expected 4 labels, one for each image, got more/);
  await refused(t, { ...files, 'train-images-idx3-ubyte.gz': gzipSync(images).subarray(0, 3000) }, /train-images/);
});

test('more examples than a part can have are refused before they are read', async (t) => {
  const count = 2_000_001;
  const header = (shape: number[]) => idx([count, ...shape], []);
  const images = { ...idxFiles([1, 1], 40, 10), 'train-images-idx3-ubyte': header([1, 1]) };
  const dir = await dataDir(t, {
    plain: { ...images, 'train-labels-idx1-ubyte': header([]) },
    cifar: { 'train.bin': '', 'test.bin': cifarRecords([[0]]) },
    labels: idxFiles([1, 1], 40, 10),
  });
  await truncate(join(dir, 'datasets/plain/train-images-idx3-ubyte'), 16 + count);
  await truncate(join(dir, 'datasets/plain/train-labels-idx1-ubyte'), 8 + count);
  await truncate(join(dir, 'datasets/cifar/train.bin'), count * 3073);
  await truncate(join(dir, 'datasets/labels/train-labels-idx1-ubyte'), 3_000_000_000);
  for (const name of ['plain', 'cifar']) {
    await assert.rejects(findDataset(name, dir)(), {
      message: /train.*: expected at most 2000000 examples, got 2000001/,
    });
  }
  await assert.rejects(findDataset('labels', dir)(), { message: /train-labels.*: expected at most \d+ bytes/ });
  const packed = gzipSync(Buffer.concat([header([1, 1]), Buffer.alloc(count)]));
  const { 'train-images-idx3-ubyte': _, ...others } = images;
  await refused(t, { ...others, 'train-images-idx3-ubyte.gz': packed }, /at most 2000000 examples/);
});

test('the files that say names and settings are files of some size', async (t) => {
  const cifar = { 'data_batch_1.bin': cifarRecords([[0], [1], [0]]), 'test_batch.bin': cifarRecords([[1]]) };
  const names = (text: string) => ({ ...cifar, 'batches.meta.txt': text });
  await refused(t, names('a\nb\n'.padEnd(65_537, '\n')), /batches.meta.txt: expected at most 65536 bytes/);
  await refused(t, names(Array.from({ length: 257 }, (_, i) => i).join('\n')), /at most 256 names, got 257/);
  await refused(t, names('a\nb\na\n'), /batches.meta.txt: expected each name once/);
  await refused(t, { ...cifar, 'dataset.json/x': '' }, /dataset.json: expected a file, got a folder/);
  await refused(t, { ...cifar, 'dataset.json': ' '.repeat(4_194_305) }, /dataset.json: expected at most 4194304 bytes/);
});

test('CIFAR binary files of ten and of a hundred classes are data sets, planes become pixels', async (t) => {
  const ten = await opened(t, {
    'data_batch_1.bin': cifarRecords([[3], [0], [1]]),
    'data_batch_2.bin': cifarRecords([[2], [3], [0]]),
    'test_batch.bin': cifarRecords([[1], [2]]),
    'batches.meta.txt': 'plane\ncar\nbird\ncat\n\n',
  });
  assert.deepEqual([ten.kind, ten.inputShape], ['cifar-binary', [32, 32, 3]]);
  assert.deepEqual(ten.labels, ['plane', 'car', 'bird', 'cat']);
  assert.deepEqual([ten.train.size, ten.validation.size], [5, 1]);
  const { input, labels } = await ten.test.batch([1]);
  assert.equal(labels[0], 2);
  const pixel = (n: number) => [...input.subarray(3 * n, 3 * n + 3)].map((x) => Math.round(x * 255));
  assert.deepEqual(
    [pixel(0), pixel(1), pixel(2), pixel(1023)],
    [
      [1, 100, 200],
      [255, 100, 200],
      [1, 100, 200],
      [1, 100, 200],
    ],
  );
  const hundred = await opened(t, {
    'train.bin': cifarRecords([
      [0, 5],
      [1, 2],
      [1, 0],
    ]),
    'test.bin': cifarRecords([[0, 4]]),
  });
  assert.deepEqual(hundred.labels, ['0', '1', '2', '3', '4', '5']);
  assert.equal(hundred.test.labelOf(0), 4);
  assert.deepEqual(
    [...(await hundred.test.batch([0])).input.subarray(1, 3)].map((x) => Math.round(x * 255)),
    [100, 200],
  );
});

test('dataset.json says what files cannot', async (t) => {
  const settings = {
    labels: ['a', 'b', 'c', 'd'],
    range: [-1, 1],
    augmentation: { flip: true },
    validation_share: 0.25,
    class_weights: 'balanced',
  };
  const dataset = await opened(t, { ...idxFiles([28, 28], 40, 4), 'dataset.json': JSON.stringify(settings) });
  assert.deepEqual(dataset.labels, ['a', 'b', 'c', 'd']);
  assert.deepEqual(dataset.inputRange, [-1, 1]);
  assert.deepEqual(dataset.augmentation, { shift: 2, flip: true });
  assert.equal(dataset.validation.size, 10);
  assert.equal(dataset.classWeights, 'balanced');
  assert.ok(Math.abs((await dataset.test.batch([0])).input[0] - (-1 + (7 / 255) * 2)) < 1e-6);
});

test('a dataset.json that is wrong is refused by field', async (t) => {
  const cases: [string, RegExp][] = [
    ['{', /dataset.json: expected JSON/],
    ['[]', /dataset.json: expected an object, got \[\]/],
    ['{"size":3}', /expected only image_size, .*got "size"/],
    ['{"__proto__":3}', /expected only image_size/],
    ['{"labels":["a","a"]}', /labels: expected each label once/],
    ['{"labels":["a"]}', /labels: expected an array of two strings or more/],
    ['{"labels":["a","b"]}', /train-labels.*: expected labels 0 to 1, got 2 at 2/],
    ['{"range":[1,0]}', /range: expected \[low, high\]/],
    ['{"augmentation":{"shift":-1}}', /augmentation: expected .*got \{"shift":-1\}/],
    ['{"augmentation":{"turn":1}}', /augmentation: expected/],
    ['{"class_weights":{"1":0}}', /class_weights: expected "balanced" or/],
    ['{"validation_share":1}', /validation_share: expected a number from 0.001 to 0.5, got 1/],
    ['{"bad_file_share":0.5}', /bad_file_share: expected nothing but for images/],
    ['{"image_size":28}', /image_size: expected nothing but for images/],
  ];
  for (const [text, message] of cases) await refused(t, { ...idxFiles([2, 2], 9, 3), 'dataset.json': text }, message);
});

test('a folder that is none of the layouts says what was expected and what was found', async (t) => {
  const idxSet: Files = idxFiles([2, 2], 6, 3);
  const without = (name: string) => Object.fromEntries(Object.entries(idxSet).filter(([file]) => file !== name));
  const record = cifarRecords([[0], [1]]);
  const cases: [Files, RegExp][] = [
    [{ 'a.txt': 'x', 'b.csv': 'y' }, /expected IDX files .*CIFAR.*folder of images.*got "a.txt", "b.csv"/],
    [{ '.hidden': 'x' }, /got an empty folder/],
    [without('t10k-labels-idx1-ubyte'), /expected t10k-labels-idx1-ubyte beside the others, got "t10k-images/],
    [without('train-images-idx3-ubyte'), /expected train-images-idx3-ubyte beside/],
    [{ ...idxSet, 'emnist-train-images-idx3-ubyte': 'x' }, /IDX files of one data set/],
    [
      { ...idxSet, 't10k-images-idx3-ubyte': idx([3, 2, 3], new Uint8Array(18)) },
      /images of 2×2×1 as in train, got 2×3/,
    ],
    [
      {
        ...idxSet,
        'train-labels-idx1-ubyte': idx([6], new Uint8Array(6)),
        't10k-labels-idx1-ubyte': idx([3], [0, 0, 0]),
      },
      /two classes/,
    ],
    [{ 'data_batch_1.bin': record }, /test_batch.bin.*got "data_batch_1.bin"/],
    [
      { 'data_batch_1.bin': record, 'test_batch.bin': record.subarray(1) },
      /test_batch.bin: expected records of 3073 bytes, got 6145/,
    ],
    [{ 'train.bin': record.subarray(5), 'test.bin': '' }, /train.bin: expected records of 3074 bytes/],
    [{ 'data_batch_1.bin': record, 'test_batch.bin': record, 'batches.meta.txt': 'a\n' }, /two classes/],
    [{ 'cats/1.png': '', 'index.html': '' }, /sub-folder for each class, 2 to 10000, got "cats"/],
  ];
  for (const [files, message] of cases) await refused(t, files, message);
});

test('names are folders, built in ones go first, and what is no name is no data set', async (t) => {
  const dir = await dataDir(t, { zebra: { a: '' }, 'my-set.2': { a: '' }, Upper: { a: '' }, '.tmp-x': { a: '' } });
  await symlink(join(dir, 'datasets', 'zebra'), join(dir, 'datasets', 'linked'));
  assert.deepEqual(await datasetNames(dir), ['mnist', 'cifar10', 'linked', 'my-set.2', 'zebra']);
  assert.deepEqual(await datasetNames(join(dir, 'nowhere')), ['mnist', 'cifar10']);
  for (const name of ['Upper', '../zebra', '.tmp-x', 'other'])
    assert.throws(() => findDataset(name, dir), ServiceError);
});

test('an archive’s own folder around the data set is looked into', async (t) => {
  const files = Object.fromEntries(
    Object.entries(idxFiles([2, 2], 20, 3)).map(([n, data]) => [`inner/deep/${n}`, data]),
  );
  assert.equal((await opened(t, files)).train.size, 19);
});

test('a folder set is read at the size and range that a net takes, or refused where it has another size', async (t) => {
  const files = idxFiles([4, 4], 20, 3);
  const dataset = await opened(t, files, { input: { range: [-2, 2], resize: 'fill' }, imageSize: 4 });
  assert.deepEqual([dataset.inputRange, dataset.input.resize], [[-2, 2], 'fill']);
  await refused(t, files, /image_size: expected 4×4, the size of the images of data set set, got 8/, { imageSize: 8 });
  const images = await imageFiles({ a: shades(4, 0, 9), b: shades(4, 100, 200) });
  const net = { input: { shape: [6, 8, 3] as [number, number, number] } };
  assert.deepEqual((await opened(t, images, net)).inputShape, [6, 8, 3]);
  await refused(t, images, /image_size: expected 6×8, what the net takes, got 6/, { ...net, imageSize: 6 });
});

test('batches of a set of 4 GB hold no more than a batch', async (t) => {
  const [count, side] = [4200, 1024];
  const header = idx([count, side, side], []);
  // The last image, beyond what 32 bits count, is the only one of its class and begins with a bright pixel.
  const labels = Uint8Array.from({ length: count }, (_, i) => (i === count - 1 ? 2 : i % 2));
  const dir = await dataDir(t, {
    set: {
      'train-images-idx3-ubyte': header,
      'train-labels-idx1-ubyte': idx([count], labels),
      't10k-images-idx3-ubyte': idx([2, side, side], new Uint8Array(2 * side * side)),
      't10k-labels-idx1-ubyte': idx([2], [0, 1]),
    },
  });
  const path = join(dir, 'datasets', 'set', 'train-images-idx3-ubyte');
  await truncate(path, header.length + count * side * side);
  const file = await open(path, 'r+');
  await file.write(Buffer.of(255), 0, 1, header.length + (count - 1) * side * side);
  await file.close();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = () => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const before = held();
  const { train, validation, close } = await findDataset('set', dir)();
  t.after(close);
  assert.equal(train.size + validation.size, count);
  let most = 0;
  for (let from = 0; from < train.size - 4; from += 200) {
    const { input } = await train.batch([0, 1, 2, 3].map((i) => from + i));
    assert.equal(input.length, 4 * side * side);
    most = Math.max(most, held() - before);
  }
  const batchBytes = 4 * 4 * side * side;
  assert.ok(most < 2 * batchBytes + 4 * 1024 * 1024, `${most} bytes were held, a batch is ${batchBytes}`);
  const [split, index] = [train, validation].flatMap((part) =>
    Array.from({ length: part.size }, (_, i) => i).flatMap((i) => (part.labelOf(i) === 2 ? [part, i] : [])),
  ) as [typeof train, number];
  const { input, labels: classes } = await split.batch([index]);
  assert.deepEqual([input[0], input[1], classes[0]], [1, 0, 2]);
});
