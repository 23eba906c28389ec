import { ServiceError } from '../../errors.js';
import { namesIn } from './faults.js';

/**
 * How much an example of a class counts in the loss. `balanced`: all classes the same together, each example
 * n/(classes·n_class); a table: by label, 1 where it names none.
 */
export type ClassWeights = 'balanced' | Record<string, number>;

/** Largest weight: a class that counts more than this is a mistake. */
export const LARGEST_WEIGHT = 1000;

export function isClassWeights(value: unknown): value is ClassWeights {
  if (value === 'balanced') return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const weights = Object.values(value);
  return weights.length > 0 && weights.every((w) => typeof w === 'number' && w > 0 && w <= LARGEST_WEIGHT);
}

export const CLASS_WEIGHTS_RULE = `"balanced" or an object of labels with numbers above 0, at most ${LARGEST_WEIGHT}`;

/**
 * The weight of each class.
 * @param counts training examples of each class
 * @throws ServiceError `invalid_field` for a label that the data set does not have
 */
export function weightsOfClasses(
  weights: ClassWeights,
  labels: readonly string[],
  counts: ArrayLike<number>,
): Float32Array {
  if (weights === 'balanced') {
    const all = Array.from(counts).reduce((a, b) => a + b, 0);
    const present = Array.from(counts).filter((n) => n > 0).length;
    return Float32Array.from(labels, (_, c) => (counts[c] > 0 ? all / (present * counts[c]) : 1));
  }
  const unknown = Object.keys(weights).find((label) => !labels.includes(label));
  if (unknown !== undefined) {
    const [expected, actual] = [`labels of the data set: ${namesIn(labels)}`, JSON.stringify(unknown.slice(0, 80))];
    throw new ServiceError('invalid_field', `class_weights: expected ${expected}, got ${actual}`, {
      field: 'class_weights',
      expected,
      actual,
    });
  }
  return Float32Array.from(labels, (label) => (Object.hasOwn(weights, label) ? weights[label] : 1));
}
