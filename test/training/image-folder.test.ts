/** Folders of images: parts, classes, decoding, files that are bad. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { ServiceError } from '../../src/errors.js';
import { decodeImage } from '../../src/image.js';
import type { OpenDataset, OpenOptions, Split } from '../../src/training/datasets/dataset.js';
import { findDataset } from '../../src/training/datasets/table.js';
import { TrainingCancelled } from '../../src/training/request.js';
import { imageFiles, png, shades, writeAll } from '../support/data-files.js';

type Files = Record<string, Buffer | string>;

async function folder(t: TestContext, files: Files): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bitdial-images-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  await writeAll(join(dir, 'datasets', 'pets'), files);
  return dir;
}

async function opened(t: TestContext, dir: string, options: OpenOptions = {}): Promise<OpenDataset> {
  const dataset = await findDataset('pets', dir)(options);
  t.after(() => dataset.close());
  return dataset;
}

async function refused(t: TestContext, files: Files, message: RegExp, options: OpenOptions = {}): Promise<void> {
  const dir = await folder(t, files);
  await assert.rejects(findDataset('pets', dir)(options), (error) => {
    assert.ok(error instanceof ServiceError && error.code === 'bad_dataset', String(error));
    assert.match(error.message, message);
    assert.ok(!error.message.includes(dir), `a path of the machine: ${error.message}`);
    return true;
  });
}

/** The first byte of every image of a split, by class. */
async function shadesOf(split: Split, classes: number): Promise<number[][]> {
  const { input, labels } = await split.batch(Uint32Array.from({ length: split.size }, (_, i) => i));
  const found: number[][] = Array.from({ length: classes }, () => []);
  labels.forEach((label, i) => {
    found[label].push(Math.round(input[(i * input.length) / labels.length] * 255));
  });
  return found.map((list) => list.sort((a, b) => a - b));
}

const settings = (value: object) => ({ 'dataset.json': JSON.stringify({ image_size: 8, ...value }) });

test('classes directly below: every image is in one part, every class in each, the same ones at every time', async (t) => {
  const classes = { dark: shades(30, 0, 58), mid: shades(30, 90, 148), light: shades(12, 200, 222) };
  const dir = await folder(t, { ...(await imageFiles(classes)), ...settings({}) });
  const dataset = await opened(t, dir);
  assert.equal(dataset.kind, 'images');
  assert.deepEqual(dataset.labels, ['dark', 'light', 'mid']);
  assert.deepEqual(dataset.inputShape, [8, 8, 3]);
  assert.deepEqual(dataset.augmentation, { shift: 1, flip: true });
  assert.equal(dataset.input.resize, 'cover');
  assert.equal(dataset.skipped, null);
  const parts = await Promise.all([dataset.train, dataset.validation, dataset.test].map((s) => shadesOf(s, 3)));
  for (const part of parts) assert.ok(part.every((list) => list.length > 0));
  const all = [0, 1, 2].map((label) => parts.flatMap((part) => part[label]).sort((a, b) => a - b));
  const want = (list: string[]) => list.map((colour) => Number(/\d+/.exec(colour)?.[0]));
  assert.deepEqual(all, [want(classes.dark), want(classes.light), want(classes.mid)]);

  // A file stays in its part when another one comes.
  await writeAll(join(dir, 'datasets', 'pets'), { 'mid/new.png': await png('rgb(160,160,160)') });
  const more = await opened(t, dir);
  const after = await Promise.all([more.train, more.validation, more.test].map((s) => shadesOf(s, 3)));
  parts.forEach((part, p) => {
    part.forEach((list, label) => {
      assert.deepEqual(
        after[p][label].filter((shade) => shade !== 160),
        list,
      );
    });
  });
});

test('a part of train, such as a limit takes, has all classes', async (t) => {
  const dir = await folder(t, {
    ...(await imageFiles({ a: shades(40, 0, 50), b: shades(40, 200, 250) })),
    ...settings({}),
  });
  const { train, test: held } = await opened(t, dir);
  for (const split of [train, held]) {
    const first = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => split.labelOf(i % split.size));
    assert.deepEqual(new Set(first).size, 2, String(first));
  }
});

test('train and test, or val, or all three', async (t) => {
  const under = async (part: string, from: number) => {
    const files = await imageFiles({ a: shades(8, from, from + 7), b: shades(8, from + 8, from + 15) });
    return Object.fromEntries(Object.entries(files).map(([name, data]) => [`${part}/${name}`, data]));
  };
  const [train, val, held] = [await under('train', 0), await under('val', 50), await under('test', 100)];
  const range = (list: number[][]) => [Math.min(...list.flat()), Math.max(...list.flat())];
  for (const [files, wantValidation, wantTest] of [
    [{ ...train, ...held }, [0, 15], [100, 115]],
    [{ ...train, ...val }, [0, 15], [50, 65]],
    [{ ...train, ...val, ...held }, [50, 65], [100, 115]],
  ] as const) {
    const dataset = await opened(
      t,
      await folder(t, { ...files, ...settings({ validation_share: 0.3 }), 'notes.txt': '' }),
    );
    assert.deepEqual(range(await shadesOf(dataset.test, 2)), wantTest);
    const [low, high] = range(await shadesOf(dataset.validation, 2));
    assert.ok(low >= wantValidation[0] && high <= wantValidation[1]);
  }
  await refused(
    t,
    { ...train, 'test/c/1.png': await png('red') },
    /test\/c: expected a class of train: "a", "b", got another/,
  );
});

test('a folder of classes called test and so on is what its content says', async (t) => {
  const dir = await folder(t, {
    ...(await imageFiles({ train: shades(5, 0, 9), test: shades(5, 90, 99) })),
    ...settings({}),
  });
  assert.deepEqual((await opened(t, dir)).labels, ['test', 'train']);
});

test('files of every sort become what a request with them would send', async (t) => {
  const noise = (seed: number, length: number) => Uint8Array.from({ length }, (_, i) => (i * seed * 7919) % 256);
  const raw = (channels: 1 | 3 | 4, width = 24, height = 18) =>
    sharp(noise(channels, width * height * channels), { raw: { width, height, channels } });
  const files: Record<string, Buffer> = {
    'grey.png': await raw(1).png().toBuffer(),
    'alpha.png': await raw(4).png().toBuffer(),
    'deep.png': await raw(3).toColourspace('rgb16').png().toBuffer(),
    'cmyk.jpg': await raw(3).toColourspace('cmyk').jpeg().toBuffer(),
    'turned.jpg': await raw(3).jpeg().withMetadata({ orientation: 6 }).toBuffer(),
    'image.webp': await raw(3).webp().toBuffer(),
    'image.gif': await raw(3).gif().toBuffer(),
    'image.tiff': await raw(3).tiff().toBuffer(),
    'large.png': await raw(3, 300, 200).png().toBuffer(),
    'thin.png': await raw(3, 200, 1).png().toBuffer(),
    'no-extension': await raw(3).png().toBuffer(),
  };
  const set = Object.fromEntries(Object.entries(files).map(([name, data]) => [`sorts/${name}`, data]));
  for (const [channels, resize] of [
    [3, 'cover'],
    [1, 'contain'],
  ] as const) {
    const dir = await folder(t, {
      ...set,
      ...(await imageFiles({ other: shades(3, 0, 9) })),
      ...settings({ channels, resize }),
    });
    const dataset = await opened(t, dir);
    assert.equal(dataset.skipped, null);
    const spec = { shape: [8, 8, channels] as [number, number, number], resize };
    const want: string[] = [];
    for (const bytes of Object.values(files)) want.push(String([...(await decodeImage(bytes, spec, 1e6, ''))]));
    const got: string[] = [];
    for (const split of [dataset.train, dataset.validation, dataset.test]) {
      for (let i = 0; i < split.size; i++) {
        const { input, labels } = await split.batch([i]);
        if (dataset.labels[labels[0]] === 'sorts') got.push(String([...input].map((x) => Math.round(x * 255))));
      }
    }
    assert.deepEqual(got.sort(), want.sort());
  }
});

/** Forty good files, and bad ones of several kinds. */
async function withBad(): Promise<{ good: Files; bad: Files }> {
  const noise = Uint8Array.from({ length: 4800 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);
  const whole = await sharp(noise, { raw: { width: 40, height: 40, channels: 3 } })
    .png()
    .toBuffer();
  const bad = {
    'a/cut.png': whole.subarray(0, whole.length / 2),
    'a/empty.jpg': '',
    'b/text.png': 'this is no image',
    'b/vector.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    'b/huge.png': await png('#fff', 1200, 1200),
  };
  return { good: await imageFiles({ a: shades(20, 0, 60), b: shades(20, 100, 160) }), bad };
}

test('bad files are named and left out, up to the share that is stated', async (t) => {
  const { good, bad } = await withBad();
  const options = { maxImagePixels: 1_000_000 };
  const dir = await folder(t, { ...good, ...bad, ...settings({ bad_file_share: 0.2 }) });
  for (let time = 0; time < 2; time++) {
    const dataset = await opened(t, dir, options);
    assert.equal(dataset.train.size + dataset.validation.size + dataset.test.size, 40);
    const { count, of, files } = dataset.skipped ?? assert.fail('nothing was skipped');
    assert.deepEqual([count, of], [5, 45]);
    assert.deepEqual(
      files.map((line) => line.split(':')[0]),
      ['a/cut.png', 'a/empty.jpg', 'b/huge.png', 'b/text.png', 'b/vector.svg'],
    );
    assert.match(files[2], /expected at most 1000000 pixels/);
    assert.match(files[3], /expected a whole JPEG, PNG/);
    assert.ok(files.every((line) => !line.includes(dir)));
  }
  // Two of 42 are below the share that holds where nothing is stated; three of 43 are above it.
  const some = (n: number) => Object.fromEntries(Object.entries(bad).slice(0, n));
  const below = await opened(t, await folder(t, { ...good, ...some(2), ...settings({}) }), options);
  assert.equal(below.skipped?.count, 2);
  const message =
    /data set pets: folder: expected at most 2 of 43 files to be unreadable.*got 3 or more: a\/cut.png: .*; a\/empty.jpg: .*; b\/text.png/;
  await refused(t, { ...good, ...some(3), ...settings({}) }, message, options);
  await refused(t, { ...good, ...some(1), ...settings({ bad_file_share: 0 }) }, /at most 0 of 41/, options);
});

test('what cannot be a set of images is refused', async (t) => {
  const two = await imageFiles({ a: shades(4, 0, 9), b: shades(4, 50, 59) });
  const bad = { ...settings({ bad_file_share: 0.9 }) };
  const cases: [Files, RegExp, OpenOptions?][] = [
    [{ ...two, 'a/inner/1.png': '' }, /a\/inner: expected an image file, got a folder/],
    [{ ...two, 'c/.keep': '' }, /c: expected image files, got none/],
    [
      { ...two, ...bad, 'c/1.png': 'x', 'c/2.png': 'x', 'c/3.png': 'x' },
      /c: expected an image that can be read, got none/,
    ],
    [{ ...two, ...settings({ labels: ['a', 'c'] }) }, /labels: expected the names of the 2 sub-folders/],
    [
      await imageFiles({ a: ['red'], b: ['blue'] }),
      /an image for the test part, and one in each class|for the validation part/,
    ],
    [
      two,
      /at most 1000 bytes of pixels \(MAX_DATASET_BYTES\), got 8 images of 32×32×3, 24576 bytes/,
      { maxBytes: 1000 },
    ],
    [two, /images of 2 channels/, { input: { shape: [8, 8, 2] } }],
  ];
  for (const [files, message, options] of cases) await refused(t, files, message, options);
});

test('the labels’ order is dataset.json’s, and a version’s before it', async (t) => {
  const dir = await folder(t, {
    ...(await imageFiles({ a: shades(4, 0, 9), b: shades(4, 50, 59) })),
    ...settings({ labels: ['b', 'a'] }),
  });
  const own = await opened(t, dir);
  assert.deepEqual(own.labels, ['b', 'a']);
  assert.ok((await shadesOf(own.train, 2))[0].every((shade) => shade >= 50));
  assert.deepEqual((await opened(t, dir, { labels: ['a', 'b'] })).labels, ['a', 'b']);
  assert.deepEqual((await opened(t, dir, { labels: ['x', 'y'] })).labels, ['b', 'a']);
});

test('files are decoded once for each size, and again only when they change', async (t) => {
  const dir = await folder(t, { ...(await imageFiles({ a: shades(4, 0, 9), b: shades(4, 50, 59) })), ...settings({}) });
  const cached = async () => (await readdir(join(dir, 'cache', 'datasets'))).sort();
  let decoded = 0;
  const open = (imageSize: number) => opened(t, dir, { imageSize, onProgress: () => void decoded++ });
  await open(8);
  assert.equal(decoded, 8);
  await open(8);
  assert.equal(decoded, 8);
  await open(16);
  assert.equal(decoded, 16);
  assert.equal((await cached()).length, 2);
  await utimes(join(dir, 'datasets', 'pets', 'a', '0.png'), 1, 1);
  await open(8);
  assert.equal(decoded, 24);
  assert.equal((await cached()).length, 1, 'those of the old files are gone');
});

test('decoding ends when it is told to, and leaves nothing', async (t) => {
  const dir = await folder(t, await imageFiles({ a: shades(20, 0, 9), b: shades(20, 50, 59) }));
  let done = 0;
  const options = { onProgress: () => void done++, isCancelled: () => done >= 3 };
  await assert.rejects(findDataset('pets', dir)(options), TrainingCancelled);
  assert.ok(done >= 3 && done < 8, `${done}`);
  assert.deepEqual(await readdir(join(dir, 'cache', 'datasets')), []);
});

test('a set whose files are gone while it is open still gives its images', async (t) => {
  const dir = await folder(t, await imageFiles({ a: shades(20, 0, 9), b: shades(20, 50, 59) }));
  const dataset = await opened(t, dir);
  const before = await dataset.train.batch([0, 1, 2]);
  await rm(join(dir, 'datasets'), { recursive: true });
  await rm(join(dir, 'cache'), { recursive: true });
  assert.deepEqual(await dataset.train.batch([0, 1, 2]), before);
});
