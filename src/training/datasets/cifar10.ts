/**
 * CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test images of 32×32 pixels in ten classes, as its binary files.
 * `npm run dataset -- cifar10` fetches them.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenDataset } from './dataset.js';
import { badDataset } from './faults.js';
import { type FolderOptions, openFolder } from './folder.js';

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
export const TRAIN_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
export const TEST_FILE = 'test_batch.bin';

const presets = { labels: CIFAR10_LABELS, augmentation: { shift: 4, flip: true } };

/** @param folder that holds the six binary files under their own names */
export async function cifar10(options: FolderOptions, folder: string): Promise<OpenDataset> {
  const missing = [...TRAIN_FILES, TEST_FILE].find((file) => !existsSync(join(folder, file)));
  if (missing !== undefined) {
    throw badDataset(`cifar10: ${missing}`, 'a file (npm run dataset -- cifar10 fetches it)', 'nothing');
  }
  return openFolder('cifar10', folder, { ...options, presets });
}
