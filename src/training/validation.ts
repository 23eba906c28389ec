import { ServiceError } from '../errors.js';
import { kindsOf, LARGEST_WIDTH, LEAST_WIDTH, REGULARIZER_KINDS, type TrainRequest } from './request.js';

/**
 * The numbers of a request, checked again where they are used: a job may be older than the service that runs it. Names
 * are checked where they are looked up.
 * @throws ServiceError invalid_field
 */
export function checkRequest(request: TrainRequest): void {
  const { regularizer, optimizer, limit, augmentation } = request;
  const whole = (least: number) => (n: number) => Number.isSafeInteger(n) && n >= least;
  const positive = (n: number) => Number.isFinite(n) && n > 0;
  const notNegative = (n: number) => Number.isFinite(n) && n >= 0;
  const rules: [string, number, (n: number) => boolean, string][] = [
    [
      'width',
      request.width,
      (n) => n >= LEAST_WIDTH && n <= LARGEST_WIDTH,
      `a number from ${LEAST_WIDTH} to ${LARGEST_WIDTH}`,
    ],
    ['epochs', request.epochs, whole(1), 'a whole number from 1'],
    ['batch_size', request.batch_size, whole(1), 'a whole number from 1'],
    ['learning_rate', request.learning_rate, positive, 'a number above 0'],
    ['optimizer.momentum', optimizer.momentum, (n) => notNegative(n) && n < 1, 'a number from 0 and below 1'],
    ['optimizer.weight_decay', optimizer.weight_decay, notNegative, 'a number from 0'],
    ['label_smoothing', request.label_smoothing, (n) => notNegative(n) && n < 1, 'a number from 0 and below 1'],
    ['image_size', request.image_size ?? 4, whole(4), 'a whole number from 4, or null'],
    ['augmentation.shift', augmentation?.shift ?? 0, whole(0), 'a whole number from 0'],
    ['validation_share', request.validation_share ?? 0.1, (n) => n > 0 && n < 1, 'a number between 0 and 1, or null'],
    ['seed', request.seed, whole(0), 'a whole number from 0'],
    ['limit', limit ?? 1, whole(1), 'a whole number from 1, or null'],
    ['regularizer.lambda_weights', regularizer.lambda_weights, notNegative, 'a number from 0'],
    ['regularizer.lambda_activations', regularizer.lambda_activations, notNegative, 'a number from 0'],
    ['regularizer.ratio_weights', regularizer.ratio_weights, notNegative, 'a number from 0'],
    ['regularizer.ratio_activations', regularizer.ratio_activations, notNegative, 'a number from 0'],
    ['regularizer.lambda_kurtosis', regularizer.lambda_kurtosis, notNegative, 'a number from 0'],
    ['regularizer.sam_radius', regularizer.sam_radius, notNegative, 'a number from 0'],
    ['weight_averaging', request.weight_averaging, (n) => notNegative(n) && n < 1, 'a number from 0 and below 1'],
    ['regularizer.start_epoch', regularizer.start_epoch, whole(0), 'a whole number from 0'],
  ];
  for (const [field, actual, holds, expected] of rules) {
    if (!holds(actual)) {
      throw new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
        field,
        expected,
        actual,
      });
    }
  }
  for (const kind of kindsOf(regularizer)) {
    if (REGULARIZER_KINDS.includes(kind)) continue;
    const expected = `none, or of ${REGULARIZER_KINDS.join(', ')}`;
    throw new ServiceError('invalid_field', `regularizer.kind: expected ${expected}, got ${kind}`, {
      field: 'regularizer.kind',
    });
  }
}
