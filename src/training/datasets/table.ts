import { join, resolve } from 'node:path';
import { ServiceError } from '../../errors.js';
import { cifar10 } from './cifar10.js';
import type { Dataset } from './dataset.js';
import { mnist } from './mnist.js';

/** The data sets that a training can name. */
export const DATASETS: Record<string, () => Promise<Dataset>> = {
  mnist: () => mnist(),
  cifar10: () => cifar10(join(resolve(process.env.DATA_DIR ?? './data'), 'datasets', 'cifar10')),
};

/** ServiceError invalid_field for a name that is not known. */
export function findDataset(name: string): () => Promise<Dataset> {
  if (Object.hasOwn(DATASETS, name)) return DATASETS[name];
  const expected = Object.keys(DATASETS).join(', ');
  throw new ServiceError('invalid_field', `dataset: expected one of ${expected}, got ${JSON.stringify(name)}`, {
    field: 'dataset',
    expected,
    actual: name,
  });
}
