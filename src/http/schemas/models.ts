import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { AnyObject, Label, ModelName, nullable, strictObject, VersionNumber } from './common.js';
import { example, json, problems } from './responses.js';

const VersionRef = Type.Object({ version: Type.Integer(), digest: Type.String() });

const Labels = Type.Record(Type.String(), Type.Integer(), {
  description: 'Version by label; `stable` is the current version where it was never set',
});

const ModelList = Type.Object({
  default: Type.String({ description: 'Model of a request that names none' }),
  models: Type.Array(
    Type.Object({
      name: Type.String(),
      current: Type.Integer({ description: 'Version of a request that names none' }),
      labels: Labels,
      versions: Type.Array(VersionRef),
    }),
  ),
});

export const modelListResponses = {
  200: json('The models and their versions', ModelList, {
    default: 'mnist-lenet',
    models: [{ name: 'mnist-lenet', current: 1, labels: { stable: 1 }, versions: [{ version: 1, digest: 'b7c1…' }] }],
  }),
  ...problems(example.unknownField),
};

export const ModelQuery = strictObject({
  version: Type.Optional(VersionNumber('Default: the current version')),
  label: Type.Optional(Label('Instead of a version: the one that this label stands for')),
});
export type ModelQuery = Static<typeof ModelQuery>;

export const PrecisionRow = Type.Object({
  bits: Type.Integer(),
  activation_bits: Type.Integer(),
  accuracy: nullable(Type.Number({ description: 'On the held-out test set, 0..1; null where there was none' })),
  images: Type.Integer({ description: 'That the accuracy was measured on' }),
  energy_uj: Type.Number({ description: 'One inference, by the energy table of the machine that made the version' }),
  memory_bytes: Type.Integer({ description: 'Resident bytes of the variant' }),
  macs: Type.Integer(),
  clip_rule: nullable(
    Type.String({
      description: 'How weights are clipped: min-max, squared-error or p-2.4; null where they are floats',
    }),
  ),
  range_factor: nullable(
    Type.Number({ description: 'On the clips of least squared error of the activations; null where they are floats' }),
  ),
  bias_correction: Type.Boolean({ description: 'Whether biases are corrected for the shift that quantising brings' }),
});

const ModelDetail = Type.Object({
  model: Type.String(),
  version: Type.Integer(),
  digest: Type.String(),
  current: nullable(Type.Integer({ description: 'The version that is current now' })),
  labels: Labels,
  precisions: Type.Array(PrecisionRow, { description: 'The precision table, widest first' }),
  manifest: AnyObject('manifest.json of the version: input, labels, activation ranges, quantiser, training record'),
});

export const modelResponses = {
  200: json('One version: manifest and precision table', ModelDetail, {
    model: 'mnist-lenet',
    version: 1,
    digest: 'b7c1…',
    current: 1,
    labels: { canary: 2, stable: 1 },
    precisions: [
      {
        bits: 4,
        activation_bits: 4,
        accuracy: 0.989,
        images: 10000,
        energy_uj: 1.9,
        memory_bytes: 31900,
        macs: 281640,
        clip_rule: 'squared-error',
        range_factor: 1,
        bias_correction: true,
      },
    ],
    manifest: {
      format: 'bitdial/1',
      model: 'mnist-lenet',
      input: { shape: [28, 28, 1], range: [0, 1], resize: 'fill' },
      labels: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
      default_precision: '8x8',
    },
  }),
  ...problems(
    example.invalidField,
    example.unknownField,
    example.modelNotFound,
    example.versionNotFound,
    example.labelNotFound,
  ),
};

const Variant = Type.Object({
  model: Type.String(),
  version: Type.Integer(),
  bits: Type.Integer(),
  activation_bits: Type.Integer(),
  memory_bytes: Type.Integer(),
  hits: Type.Integer(),
  in_use: Type.Integer({ description: 'Requests that run on it now' }),
  engine: Type.String(),
  build_ms: Type.Number(),
  latency_ms: nullable(Type.Number({ description: "Moving median of one instance's compute time" })),
});

export const variantResponses = {
  200: json('The variants that are resident', Type.Object({ variants: Type.Array(Variant) }), {
    variants: [
      {
        model: 'mnist-lenet',
        version: 1,
        bits: 4,
        activation_bits: 4,
        memory_bytes: 31900,
        hits: 12,
        in_use: 0,
        engine: 'reference',
        build_ms: 3.1,
        latency_ms: 1.4,
      },
    ],
  }),
  ...problems(example.invalidField, example.unknownField, example.modelNotFound),
};

/** Of a body that names a version of a model, whatever its other fields. */
const versionChoiceProblems = [
  example.emptyBody,
  example.malformedJson,
  example.unauthorized,
  example.modelNotFound,
  example.versionNotFound,
  example.bodyTooLarge,
  example.mediaType,
];

export const CurrentBody = strictObject(
  { version: VersionNumber('The version to make current') },
  { examples: [{ version: 1 }] },
);

export const currentResponses = {
  200: json('What is current now', Type.Object({ model: Type.String(), ...VersionRef.properties }), {
    model: 'mnist-lenet',
    version: 1,
    digest: 'b7c1…',
  }),
  ...problems(
    example.invalidField,
    example.unknownField,
    new ServiceError('missing_field', 'body: expected the field version (a whole number of at least 1), got nothing', {
      field: 'version',
      expected: 'a whole number of at least 1',
      actual: 'nothing',
    }),
    ...versionChoiceProblems,
  ),
};

export const LabelBody = strictObject(
  {
    label: Label('`stable`, `canary`, or any other name'),
    version: VersionNumber('The version that the label stands for from now on'),
  },
  { examples: [{ label: 'canary', version: 2 }] },
);

export const labelResponses = {
  200: json(
    'What the label stands for now',
    Type.Object({ model: Type.String(), label: Type.String(), ...VersionRef.properties }),
    { model: 'mnist-lenet', label: 'canary', version: 2, digest: 'b7c1…' },
  ),
  ...problems(
    example.invalidField,
    example.unknownField,
    new ServiceError(
      'missing_field',
      'body: expected the field label (a label: 1 to 64 of a-z 0-9 . _ -), got nothing',
      {
        field: 'label',
        expected: 'a label: 1 to 64 of a-z 0-9 . _ -',
        actual: 'nothing',
      },
    ),
    ...versionChoiceProblems,
  ),
};

export const LabelParams = strictObject({
  model: ModelName('Name of the model'),
  label: Label('The label to take away'),
});

export const removeLabelResponses = {
  204: { description: 'Taken away; `stable` is then the current version again', type: 'null' },
  ...problems(
    example.invalidField,
    example.unknownField,
    example.unauthorized,
    example.modelNotFound,
    example.labelNotFound,
  ),
};

export const dropResponses = {
  200: json(
    'How many were dropped; those in use stay',
    Type.Object({ dropped: Type.Integer(), bytes: Type.Integer({ description: 'Set free' }) }),
    { dropped: 3, bytes: 96123 },
  ),
  ...problems(example.invalidField, example.unknownField, example.unauthorized, example.modelNotFound),
};
