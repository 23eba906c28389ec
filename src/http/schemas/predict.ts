import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { IMAGE_TYPES, JSON_TYPE, RAW_TYPE } from '../plugins/bodies.js';
import { Label, ModelName, nullable, strictObject, VersionNumber } from './common.js';
import { deadlineField, precisionFields } from './precision.js';
import { example, json, overload, problems } from './responses.js';

export const PredictQuery = strictObject({
  model: Type.Optional(ModelName('Default: DEFAULT_MODEL')),
  version: Type.Optional(VersionNumber('Default: the current version')),
  label: Type.Optional(Label('Instead of a version: the one that this label stands for')),
  ...precisionFields,
  ...deadlineField,
  top_k: Type.Optional(
    Type.Integer({
      minimum: 1,
      default: 5,
      description: 'Labels per prediction, at most the number of classes',
      examples: [3],
    }),
  ),
  dtype: Type.Optional(
    Type.Unsafe<'uint8' | 'float32'>({
      type: 'string',
      enum: ['uint8', 'float32'],
      default: 'uint8',
      description: `Of an ${RAW_TYPE} body: pixels 0..255, or little-endian floats in the version's input range`,
      examples: ['uint8'],
    }),
  ),
});
export type PredictQuery = Static<typeof PredictQuery>;

export const PredictBody = strictObject(
  {
    instances: Type.Array(Type.Unknown(), {
      minItems: 1,
      description:
        'One to MAX_BATCH instances; each a nested or flat array of numbers in the input range of the version, ' +
        'or {"b64": "…"} holding an image file',
    }),
  },
  { examples: [{ instances: [{ b64: 'iVBORw0KGgo…' }] }] },
);

const binary = (description: string) => ({ schema: Type.String({ format: 'binary', description }) });

export const predictBody = {
  content: {
    [IMAGE_TYPES]: binary('One image file: PNG, JPEG, WebP …; resized and normalised as the version says'),
    [JSON_TYPE]: { schema: PredictBody },
    [RAW_TYPE]: binary('Raw pixels, NHWC, of one or more instances'),
  },
};

const RankedLabel = { label: Type.String(), index: Type.Integer(), probability: Type.Number() };

export const PredictAnswer = Type.Object({
  model: Type.String(),
  version: Type.Integer(),
  digest: Type.String(),
  bits: Type.Integer(),
  activation_bits: Type.Integer(),
  predictions: Type.Array(
    Type.Object({ ...RankedLabel, top: Type.Array(Type.Object(RankedLabel), { description: 'Most probable first' }) }),
  ),
  cost: Type.Object({
    energy_uj: Type.Number({ description: 'All instances together, by the energy table' }),
    memory_bytes: Type.Integer({ description: 'Resident bytes of the variant' }),
    expected_accuracy: nullable(Type.Number({ description: 'Held-out accuracy of this precision' })),
  }),
  variant: Type.Object({ cached: Type.Boolean(), build_ms: Type.Number(), engine: Type.String() }),
  timing_ms: Type.Object({
    queue: Type.Number({ description: 'All waiting for the engine, and for others to share a run with' }),
    compute: Type.Number({ description: 'Of the run, which other requests may have shared' }),
  }),
  degraded: Type.Optional(
    Type.Object(
      {
        from: Type.Object({ bits: Type.Integer(), activation_bits: Type.Integer() }),
        reason: Type.Unsafe<'overload' | 'power'>({ type: 'string', enum: ['overload', 'power'] }),
      },
      {
        description:
          'Only where the service lowered the bits of a request that named none: what it would have run at, and why',
      },
    ),
  ),
});

const answerExample = {
  model: 'mnist-lenet',
  version: 1,
  digest: 'b7c1…',
  bits: 4,
  activation_bits: 4,
  predictions: [
    {
      label: '7',
      index: 7,
      probability: 0.998,
      top: [
        { label: '7', index: 7, probability: 0.998 },
        { label: '9', index: 9, probability: 0.001 },
      ],
    },
  ],
  cost: { energy_uj: 1.9, memory_bytes: 31900, expected_accuracy: 0.989 },
  variant: { cached: true, build_ms: 3.1, engine: 'reference' },
  timing_ms: { queue: 0.1, compute: 1.4 },
  degraded: { from: { bits: 8, activation_bits: 8 }, reason: 'overload' },
};

export const predictResponses = {
  200: json('The predictions, and what they cost', PredictAnswer, answerExample),
  ...problems(
    example.invalidField,
    example.unknownField,
    example.emptyBody,
    example.malformedJson,
    new ServiceError(
      'missing_field',
      'body: expected the field instances (an array of at least 1 elements), got nothing',
      {
        field: 'instances',
        expected: 'an array of at least 1 elements',
        actual: 'nothing',
      },
    ),
    new ServiceError('bits_and_budget', 'query: expected bits or a budget, got bits and max_energy_uj', {
      expected: 'bits or a budget',
      actual: 'bits and max_energy_uj',
    }),
    new ServiceError('body_too_deep', 'body: expected at most 32 levels of arrays and objects, got more at byte 47'),
    new ServiceError('wrong_shape', 'instances[0]: expected 28×28×1 or 784 numbers, got 27×28×1', {
      field: 'instances[0]',
      expected: [28, 28, 1],
      actual: [27, 28, 1],
    }),
    new ServiceError('not_finite', 'instances[0][3]: expected a finite number, got null'),
    new ServiceError('out_of_range', 'instances[0][3]: expected a number from 0 to 1, got 255'),
    new ServiceError('bad_image', 'body: expected an image file, got bytes that do not decode'),
    new ServiceError('batch_too_large', 'instances: expected at most 64, got 65', { expected: 64, actual: 65 }),
    example.modelNotFound,
    example.versionNotFound,
    example.labelNotFound,
    example.bodyTooLarge,
    new ServiceError('image_too_large', 'body: expected an image of at most 50000000 pixels, got more'),
    example.mediaType,
    new ServiceError('budget_infeasible', 'budget: expected at least 0.7 microjoules, got 0.1', {
      cheapest: { bits: 2, activation_bits: 2, energy_uj: 0.7 },
    }),
    new ServiceError('accuracy_unknown', 'min_accuracy: expected a version whose accuracy was measured, got another', {
      field: 'min_accuracy',
    }),
    new ServiceError('no_precision_table', 'budget: expected a version with a precision table, got one without'),
    new ServiceError('variant_too_large', 'variant: expected at most 1048576 bytes, got 2000000'),
    ...overload,
  ),
};
