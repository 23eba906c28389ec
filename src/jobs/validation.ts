import { ServiceError } from '../errors.js';
import { importGraph } from '../model/import.js';
import { MODEL_NAME } from '../model/manifest-check.js';
import { CLASS_WEIGHTS_RULE, isClassWeights } from '../training/datasets/class-weights.js';
import { LARGEST_SHIFT, SHARES, SIDES } from '../training/datasets/settings.js';
import {
  LARGEST_WIDTH,
  LEAST_WIDTH,
  type OptimizerRequest,
  RECIPE_DEFAULTS,
  type TrainRequest,
} from '../training/request.js';
import { Body, describe } from './body.js';
import { parseRegularizer, REGULARIZER_DEFAULTS } from './regularizer-body.js';

/** What the service knows, for the fields that name something; what is left out is not checked here. */
export interface Known {
  /** Names that `from` can begin from. */
  models?: readonly string[];
  architectures?: readonly string[];
  datasets?: readonly string[];
}

export const TRAIN_DEFAULTS = {
  architecture: 'lenet',
  dataset: 'mnist',
  epochs: 5,
  batch_size: 64,
  learning_rate: 2e-3,
  ...RECIPE_DEFAULTS,
  regularizer: REGULARIZER_DEFAULTS,
  seed: 1,
  publish: true,
} as const;

const FIELDS = [
  'model',
  'architecture',
  'width',
  'dataset',
  'from',
  'epochs',
  'batch_size',
  'learning_rate',
  'optimizer',
  'schedule',
  'label_smoothing',
  'image_size',
  'augmentation',
  'class_weights',
  'validation_share',
  'regularizer',
  'fold_batch_norm',
  'weight_averaging',
  'seed',
  'limit',
  'publish',
] as const;
const AUGMENTATION_FIELDS = ['shift', 'flip'] as const;
const OPTIMIZER_FIELDS = ['kind', 'momentum', 'weight_decay'] as const;

export const SGD_MOMENTUM = 0.9;
const MODEL_RULE = 'a name of 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit, without ..';
/** Bytes of a topology as JSON; the largest nets that train here take a tenth of it. */
const LARGEST_TOPOLOGY = 1024 * 1024;
const LARGEST_LIMIT = 1e9;
const LARGEST_SEED = 2 ** 31 - 1;

/**
 * The body of `POST /admin/train` with every default filled in.
 *
 * @throws ServiceError `invalid_field` (extra: field, expected, actual), `unknown_field`, `missing_field`; for a topology
 *   also `unsupported_layer` and `bad_model`; `model_not_found` for a `from` of an unknown model
 */
export function parseTrainRequest(body: unknown, known: Known = {}): TrainRequest {
  const fields = new Body(body, '', FIELDS);
  const model = fields.required('model', modelName, MODEL_RULE);
  const from = fields.optional('from', null, startFrom, '"current", a version number or null');
  if (from !== null && known.models !== undefined && !known.models.includes(model)) {
    throw new ServiceError('model_not_found', `from: there is no model ${JSON.stringify(model)} to begin from`);
  }
  if (from !== null && fields.has('architecture')) {
    throw fields.error('architecture', 'nothing beside from, as the version that training begins from has its own');
  }
  const epochs = fields.integer('epochs', TRAIN_DEFAULTS.epochs, 1, 1000);
  return {
    model,
    architecture: architecture(fields, known.architectures),
    width: width(fields, from),
    dataset: named(fields, 'dataset', TRAIN_DEFAULTS.dataset, known.datasets),
    from,
    epochs,
    batch_size: fields.integer('batch_size', TRAIN_DEFAULTS.batch_size, 1, 1024),
    learning_rate: fields.number('learning_rate', TRAIN_DEFAULTS.learning_rate, 1e-8, 1),
    optimizer: optimizer(fields),
    schedule: fields.choice('schedule', TRAIN_DEFAULTS.schedule, ['cosine', 'one-cycle']),
    label_smoothing: fields.number('label_smoothing', TRAIN_DEFAULTS.label_smoothing, 0, 0.5),
    image_size: fields.integer('image_size', null, SIDES.min, SIDES.max),
    augmentation: augmentation(fields),
    class_weights: fields.optional('class_weights', null, classWeights, `${CLASS_WEIGHTS_RULE}, "none" or null`),
    validation_share: validationShare(fields),
    regularizer: parseRegularizer(fields, epochs),
    fold_batch_norm: fields.optional('fold_batch_norm', from !== null, boolean, 'true or false'),
    weight_averaging: fields.number('weight_averaging', TRAIN_DEFAULTS.weight_averaging, 0, 0.99999),
    seed: fields.integer('seed', TRAIN_DEFAULTS.seed, 0, LARGEST_SEED),
    limit: fields.integer('limit', null, 1, LARGEST_LIMIT),
    publish: fields.optional('publish', TRAIN_DEFAULTS.publish, boolean, 'true or false'),
  };
}

function width(fields: Body, from: TrainRequest['from']): number {
  const topology = typeof fields.get('architecture') === 'object';
  if (fields.has('width') && fields.get('width') !== 1 && (from !== null || topology)) {
    throw fields.error('width', `nothing beside ${topology ? 'a topology' : 'from'}, which has its own channels`);
  }
  return fields.number('width', TRAIN_DEFAULTS.width, LEAST_WIDTH, LARGEST_WIDTH);
}

function optimizer(fields: Body): OptimizerRequest {
  const inner = fields.inner('optimizer', OPTIMIZER_FIELDS);
  const defaults = TRAIN_DEFAULTS.optimizer;
  const kind = inner.choice<OptimizerRequest['kind']>('kind', defaults.kind, ['adam', 'sgd']);
  const [momentum, largest] = kind === 'sgd' ? [SGD_MOMENTUM, 0.999] : [0, 0];
  return {
    kind,
    momentum: inner.number('momentum', momentum, 0, largest),
    weight_decay: inner.number('weight_decay', defaults.weight_decay, 0, 1),
  };
}

function augmentation(fields: Body): TrainRequest['augmentation'] {
  if (fields.get('augmentation') === undefined || fields.get('augmentation') === null) return null;
  const inner = fields.inner('augmentation', AUGMENTATION_FIELDS);
  if (!inner.has('shift') && !inner.has('flip')) return null;
  return {
    ...(inner.has('shift') && { shift: inner.integer('shift', 0, 0, LARGEST_SHIFT) }),
    ...(inner.has('flip') && { flip: inner.optional('flip', false, boolean, 'true or false') }),
  };
}

function validationShare(fields: Body): number | null {
  const { min, max } = SHARES;
  const fits = (v: unknown): v is number | null => v === null || (typeof v === 'number' && v >= min && v <= max);
  return fields.optional('validation_share', null, fits, `a number from ${min} to ${max}, or null`);
}

function architecture(fields: Body, known: readonly string[] | undefined): string | Record<string, unknown> {
  const value = fields.get('architecture');
  if (typeof value !== 'object' || value === null) {
    return named(fields, 'architecture', TRAIN_DEFAULTS.architecture, known, ' or a TF.js Layers topology');
  }
  if (Array.isArray(value)) throw fields.error('architecture', 'a name or a TF.js Layers topology');
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > LARGEST_TOPOLOGY) {
    throw fields.error('architecture', `a topology of at most ${LARGEST_TOPOLOGY} bytes`, `${bytes} bytes`);
  }
  importGraph(value);
  return value as Record<string, unknown>;
}

function named(fields: Body, name: string, fallback: string, known?: readonly string[], or = ''): string {
  const rule = known === undefined ? `a name${or}` : `one of ${known.map(describe).join(', ')}${or}`;
  const check = (value: unknown): value is string =>
    typeof value === 'string' && value.length >= 1 && value.length <= 64 && (known?.includes(value) ?? true);
  return fields.optional(name, fallback, check, rule);
}

function modelName(value: unknown): value is string {
  return typeof value === 'string' && MODEL_NAME.test(value);
}

function startFrom(value: unknown): value is 'current' | number | null {
  return value === null || value === 'current' || (Number.isSafeInteger(value) && (value as number) >= 1);
}

function classWeights(value: unknown): value is TrainRequest['class_weights'] {
  return value === null || value === 'none' || isClassWeights(value);
}

function boolean(value: unknown): value is boolean {
  return typeof value === 'boolean';
}
