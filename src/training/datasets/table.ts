import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ServiceError } from '../../errors.js';
import { MODEL_NAME } from '../../model/manifest-check.js';
import { cifar10 } from './cifar10.js';
import type { OpenDataset, OpenOptions } from './dataset.js';
import { type FolderOptions, openFolder } from './folder.js';
import { mnist } from './mnist.js';

/** The data sets that are built in; all others are folders. */
export const DATASETS: Record<string, (options: FolderOptions) => Promise<OpenDataset>> = {
  mnist: (options) => mnist(options),
  cifar10: (options) => cifar10(options, datasetFolder(options.dataDir, 'cifar10')),
};

/** One path segment without dots in a row, so that a name never leaves the folder of data sets. */
export const DATASET_NAME = MODEL_NAME;

export function datasetsRoot(dataDir: string): string {
  return join(resolve(dataDir), 'datasets');
}

/** @param name checked against {@link DATASET_NAME} */
export function datasetFolder(dataDir: string, name: string): string {
  return join(datasetsRoot(dataDir), name);
}

/** The names that a training can use now: the built-in ones first, then the folders. */
export async function datasetNames(dataDir: string): Promise<string[]> {
  const entries = await readdir(datasetsRoot(dataDir), { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((e) => (e.isDirectory() || e.isSymbolicLink()) && DATASET_NAME.test(e.name));
  const names = folders.map((e) => e.name).filter((name) => !Object.hasOwn(DATASETS, name));
  return [...Object.keys(DATASETS), ...names.sort()];
}

/**
 * A built-in data set, or the folder of that name in `<dataDir>/datasets`, still to be opened.
 * @throws ServiceError `invalid_field` for a name that is neither
 */
export function findDataset(
  name: string,
  dataDir: string = process.env.DATA_DIR ?? './data',
): (options?: OpenOptions) => Promise<OpenDataset> {
  if (Object.hasOwn(DATASETS, name)) return (options) => DATASETS[name]({ ...options, dataDir });
  if (DATASET_NAME.test(name) && existsSync(datasetFolder(dataDir, name))) {
    return (options) => openFolder(name, datasetFolder(dataDir, name), { ...options, dataDir });
  }
  const expected = `${Object.keys(DATASETS).join(', ')} or a folder in DATA_DIR/datasets`;
  throw new ServiceError('invalid_field', `dataset: expected one of ${expected}, got ${JSON.stringify(name)}`, {
    field: 'dataset',
    expected,
    actual: name,
  });
}
