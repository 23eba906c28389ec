/**
 * CIFAR's binary files (Krizhevsky 2009): records of one label byte (CIFAR-10) or two (CIFAR-100: coarse, then fine, which
 * is the one that counts) and 3072 bytes of a 32×32 image, red before green before blue.
 */
import { open, readFile } from 'node:fs/promises';
import type { Entry } from './entries.js';
import { badDataset, fileFault, namesIn } from './faults.js';
import { type BytePart, checkCount, type RecordFile } from './records.js';

const SIDE = 32;
export const CHANNELS = 3;
export const PIXELS = SIDE * SIDE * CHANNELS;
const LABEL_FILES = ['batches.meta.txt', 'fine_label_names.txt'];
const BLOCK = 1000;
const LARGEST_NAMES = 65_536;
/** A label is a byte. */
const MOST_NAMES = 256;

export interface CifarLayout {
  kind: 'cifar-binary';
  train: Entry[];
  test: Entry[];
  /** File with the names of the classes, one a line. */
  names: Entry | undefined;
}

/** The CIFAR files of a folder; null where it has none. @throws ServiceError `bad_dataset` where it has not all */
export function findCifar(entries: readonly Entry[]): CifarLayout | null {
  const files = entries.filter(({ isFolder }) => !isFolder);
  const named = (pattern: RegExp) => files.filter(({ name }) => pattern.test(name));
  const train = named(/^(data_batch_\d+|train)\.bin$/);
  const test = named(/^(test_batch|test)\.bin$/);
  if (train.length === 0 && test.length === 0) return null;
  if (train.length === 0 || test.length !== 1) {
    const wanted = 'data_batch_1.bin … and test_batch.bin, or train.bin and test.bin';
    throw badDataset('folder', wanted, namesIn([...train, ...test].map(({ name }) => name)));
  }
  return { kind: 'cifar-binary', train, test, names: files.find(({ name }) => LABEL_FILES.includes(name)) };
}

export async function readCifarParts(layout: CifarLayout): Promise<{ train: BytePart; test: BytePart }> {
  const labelBytes = labelBytesOf([...layout.train, ...layout.test]);
  return { train: await readPart(layout.train, labelBytes), test: await readPart(layout.test, labelBytes) };
}

/** The names in the label file; null where there is none. @throws ServiceError `bad_dataset` */
export async function readNames({ names }: CifarLayout): Promise<string[] | null> {
  if (names === undefined) return null;
  if (names.size > LARGEST_NAMES) throw badDataset(names.name, `at most ${LARGEST_NAMES} bytes`, `${names.size}`);
  const text = await readFile(names.path, 'utf8').catch((error: unknown) => {
    throw fileFault(names.name, error);
  });
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  if (lines.length > MOST_NAMES) throw badDataset(names.name, `at most ${MOST_NAMES} names`, `${lines.length}`);
  if (new Set(lines).size < lines.length) throw badDataset(names.name, 'each name once', 'one twice');
  return lines;
}

/** One or two: what all files' lengths are multiples of. Where both fit, the names decide. */
function labelBytesOf(files: readonly Entry[]): number {
  const fits = (labels: number) => files.every(({ size }) => size > 0 && size % (labels + PIXELS) === 0);
  const likely = files[0].name.startsWith('data_batch') ? [1, 2] : [2, 1];
  const found = likely.find(fits);
  if (found !== undefined) return found;
  const odd = files.find(({ size }) => size === 0 || size % (likely[0] + PIXELS) !== 0) ?? files[0];
  throw badDataset(odd.name, `records of ${likely[0] + PIXELS} bytes`, `${odd.size} bytes`);
}

async function readPart(entries: readonly Entry[], labelBytes: number): Promise<BytePart> {
  const stride = labelBytes + PIXELS;
  const files: RecordFile[] = entries.map(({ path, name, size }) => {
    return { path, name, offset: labelBytes, stride, count: size / stride };
  });
  const total = files.reduce((sum, { count }) => sum + count, 0);
  checkCount(files[0].name, total);
  const labels = new Uint8Array(total);
  let at = 0;
  for (const file of files) {
    await readLabels(file, labelBytes, labels.subarray(at, at + file.count));
    at += file.count;
  }
  return { shape: [SIDE, SIDE, CHANNELS], files, labels, labelFile: files[0].name };
}

async function readLabels({ path, name, stride, count }: RecordFile, labelBytes: number, to: Uint8Array) {
  const file = await open(path).catch((error: unknown) => {
    throw fileFault(name, error);
  });
  try {
    const block = Buffer.alloc(BLOCK * stride);
    for (let first = 0; first < count; first += BLOCK) {
      const records = Math.min(BLOCK, count - first);
      const { bytesRead } = await file.read(block, 0, records * stride, first * stride);
      if (bytesRead < records * stride) throw badDataset(name, `${count} records`, 'fewer');
      for (let i = 0; i < records; i++) to[first + i] = block[i * stride + labelBytes - 1];
    }
  } finally {
    await file.close();
  }
}
