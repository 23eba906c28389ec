/** Documents the body of `POST /admin/train`; `jobs/validation.ts` checks it and fills the defaults in. */
import Type from 'typebox';
import { ServiceError } from '../../errors.js';
import { SGD_MOMENTUM, TRAIN_DEFAULTS } from '../../jobs/validation.js';
import { LARGEST_WEIGHT } from '../../training/datasets/class-weights.js';
import { LARGEST_SHIFT, SHARES, SIDES } from '../../training/datasets/settings.js';
import { LARGEST_WIDTH, LEAST_WIDTH } from '../../training/request.js';
import { AnyObject, ModelName, nullable, strictObject } from './common.js';
import { trainAnswers } from './jobs.js';
import { Regularizer } from './regularizer.js';
import { example, problems } from './responses.js';

const { optimizer, regularizer } = TRAIN_DEFAULTS;
const { kind, lambda_weights, lambda_activations } = regularizer;
const optional = Type.Optional;

const Optimizer = strictObject({
  kind: optional(Type.Unsafe({ type: 'string', enum: ['adam', 'sgd'], default: optimizer.kind })),
  momentum: optional(
    Type.Number({
      minimum: 0,
      maximum: 0.999,
      default: SGD_MOMENTUM,
      description: "Nesterov's, of sgd; 0 beside adam",
    }),
  ),
  weight_decay: optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      default: optimizer.weight_decay,
      description: 'Of kernels; decoupled for adam',
    }),
  ),
});

export const TrainBody = strictObject(
  {
    model: ModelName('Name that the version is published under'),
    architecture: optional(
      Type.Union([Type.String(), AnyObject('TF.js Layers topology')], {
        default: TRAIN_DEFAULTS.architecture,
        description: 'Built-in name, or the topology of a TF.js Layers model; not together with `from`',
      }),
    ),
    width: optional(
      Type.Number({
        minimum: LEAST_WIDTH,
        maximum: LARGEST_WIDTH,
        default: TRAIN_DEFAULTS.width,
        description:
          'Factor on the channels of a built-in architecture, rounded to multiples of 4; not together with `from` or a topology',
      }),
    ),
    dataset: optional(
      Type.String({ default: TRAIN_DEFAULTS.dataset, description: 'mnist, cifar10, or a folder in DATA_DIR/datasets' }),
    ),
    from: optional(
      Type.Union([Type.Literal('current'), Type.Integer({ minimum: 1, description: 'A version' }), Type.Null()], {
        default: null,
        description: 'Weights to begin with; null: from scratch',
      }),
    ),
    epochs: optional(Type.Integer({ minimum: 1, default: TRAIN_DEFAULTS.epochs })),
    batch_size: optional(Type.Integer({ minimum: 1, default: TRAIN_DEFAULTS.batch_size })),
    learning_rate: optional(Type.Number({ exclusiveMinimum: 0, default: TRAIN_DEFAULTS.learning_rate })),
    optimizer: optional(Optimizer),
    schedule: optional(
      Type.Unsafe({
        type: 'string',
        enum: ['cosine', 'one-cycle'],
        default: TRAIN_DEFAULTS.schedule,
        description: 'Of the learning rate: a short or a long rise to its peak, then half a cosine down to 0',
      }),
    ),
    label_smoothing: optional(
      Type.Number({
        minimum: 0,
        maximum: 0.5,
        default: TRAIN_DEFAULTS.label_smoothing,
        description: 'Share of the target that all classes have in equal parts',
      }),
    ),
    image_size: optional(
      nullable(
        Type.Integer({
          minimum: SIDES.min,
          maximum: SIDES.max,
          description: "Side of an image folder's images; null: what the net takes, or the data set says, or 32",
        }),
      ),
    ),
    augmentation: optional(
      nullable(
        strictObject(
          {
            shift: optional(
              Type.Integer({
                minimum: 0,
                maximum: LARGEST_SHIFT,
                description: 'Pixels, either way, in both directions',
              }),
            ),
            flip: optional(Type.Boolean({ description: 'Whether images are mirrored, left to right' })),
          },
          { description: 'How images are varied; what is left out is as the data set says' },
        ),
      ),
    ),
    class_weights: optional(
      Type.Union(
        [
          Type.Literal('balanced'),
          Type.Literal('none'),
          Type.Record(Type.String(), Type.Number({ exclusiveMinimum: 0, maximum: LARGEST_WEIGHT })),
          Type.Null(),
        ],
        { default: null, description: 'How much an example counts in the loss, by label; null: as the data set says' },
      ),
    ),
    validation_share: optional(
      nullable(
        Type.Number({
          minimum: SHARES.min,
          maximum: SHARES.max,
          description: 'Of the training examples, kept for choices; null: as the data set says, or 0.05',
        }),
      ),
    ),
    regularizer: optional(Regularizer),
    fold_batch_norm: optional(
      Type.Boolean({
        description:
          'Train the net that serving quantises, its batch norms folded into their layers; by default where `from` is given',
      }),
    ),
    weight_averaging: optional(
      Type.Number({
        minimum: 0,
        maximum: 0.99999,
        default: TRAIN_DEFAULTS.weight_averaging,
        description: 'Decay of the moving average of the weights that is published; 0: the weights themselves',
      }),
    ),
    seed: optional(Type.Integer({ minimum: 0, default: TRAIN_DEFAULTS.seed })),
    limit: optional(nullable(Type.Integer({ minimum: 1, description: 'At most so many training examples' }))),
    publish: optional(
      Type.Boolean({ default: TRAIN_DEFAULTS.publish, description: 'Whether the result becomes the current version' }),
    ),
  },
  {
    examples: [
      {
        model: 'mnist-lenet',
        architecture: 'lenet',
        dataset: 'mnist',
        epochs: 5,
        regularizer: { kind, lambda_weights, lambda_activations },
      },
    ],
  },
);

export const TrainHeaders = Type.Object({
  'idempotency-key': optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'A request that is sent again with the same key gives the same job',
      examples: ['nightly-2025-01-01'],
    }),
  ),
});

export const trainResponses = {
  ...trainAnswers,
  ...problems(
    example.invalidField,
    example.unknownField,
    new ServiceError('missing_field', 'model: expected a name, got nothing', { field: 'model', expected: 'a name' }),
    example.emptyBody,
    example.malformedJson,
    example.unauthorized,
    example.modelNotFound,
    example.bodyTooLarge,
    example.mediaType,
    new ServiceError('unsupported_layer', 'layer "lstm_1" (LSTM): expected one that can be served, got another'),
    new ServiceError('bad_model', 'model.json: expected a TF.js Layers topology, got an array'),
    new ServiceError('idempotency_key_reused', 'expected the request that first came with this key', {
      field: 'Idempotency-Key',
      job: '01k3x9v7q2',
    }),
    new ServiceError('too_many_requests', 'expected fewer than 1000 jobs waiting, there are 1000', {
      retry_after_s: 60,
    }),
    example.queueUnavailable,
  ),
};
