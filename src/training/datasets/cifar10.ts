/**
 * CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images of 32×32 pixels in ten classes, as its binary files: one byte
 * of label and 3072 bytes of pixels an image, channel by channel. `npm run dataset -- cifar10` fetches them.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ByteImages, byteSplit, carveValidation, type Dataset } from './dataset.js';

export const CIFAR10_LABELS = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
];
const SIDE = 32;
const PLANE = SIDE * SIDE;
const PIXELS = 3 * PLANE;
const RECORD = 1 + PIXELS;
export const TRAIN_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
export const TEST_FILE = 'test_batch.bin';

/** @param folder that holds the six binary files under their own names */
export async function cifar10(folder: string): Promise<Dataset> {
  const train = joined(await Promise.all(TRAIN_FILES.map((file) => readBatch(join(folder, file)))));
  const test = await readBatch(join(folder, TEST_FILE));
  const range: [number, number] = [0, 1];
  const carved = carveValidation(train.labels.length);
  const split = (images: ByteImages, order: Uint32Array) => byteSplit(images, order, PIXELS, range);
  return {
    name: 'cifar10',
    inputShape: [SIDE, SIDE, 3],
    inputRange: range,
    labels: CIFAR10_LABELS,
    augmentation: { shift: 4, flip: true },
    train: split(train, carved.train),
    validation: split(train, carved.validation),
    test: split(
      test,
      Uint32Array.from({ length: test.labels.length }, (_, i) => i),
    ),
  };
}

/** One file, its pixels from planes to NHWC. */
async function readBatch(path: string): Promise<ByteImages> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new Error(`${path}: cannot be read: ${(error as Error).message}; npm run dataset -- cifar10 fetches it`);
  }
  if (bytes.length === 0 || bytes.length % RECORD !== 0) {
    throw new Error(`${path}: expected records of ${RECORD} bytes, got ${bytes.length} bytes`);
  }
  const count = bytes.length / RECORD;
  const labels = new Uint8Array(count);
  const pixels = new Uint8Array(count * PIXELS);
  for (let i = 0; i < count; i++) {
    const label = bytes[i * RECORD];
    if (label >= CIFAR10_LABELS.length) {
      throw new Error(`${path}: expected labels 0 to ${CIFAR10_LABELS.length - 1}, got ${label} in record ${i}`);
    }
    labels[i] = label;
    for (let c = 0; c < 3; c++) {
      const from = i * RECORD + 1 + c * PLANE;
      for (let p = 0; p < PLANE; p++) pixels[i * PIXELS + p * 3 + c] = bytes[from + p];
    }
  }
  return { pixels, labels };
}

function joined(parts: ByteImages[]): ByteImages {
  return {
    pixels: Buffer.concat(parts.map(({ pixels }) => pixels)),
    labels: Buffer.concat(parts.map(({ labels }) => labels)),
  };
}
