import Type, { type Static, type TSchema } from 'typebox';
import { ServiceError } from '../../errors.js';
import { INPUT, OUTPUT, SIGNATURE } from '../tfserving/request.js';
import { Label, ModelName, strictObject, VersionNumber } from './common.js';
import { deadlineField, precisionFields } from './precision.js';
import { example, inferenceErrors, json, overload } from './responses.js';

/** What a path can name: a model, and of it the current version, one by number or one by label. */
export const targets = {
  current: strictObject({ model: ModelName('Name of the model') }),
  version: strictObject({ model: ModelName('Name of the model'), version: VersionNumber('Number of the version') }),
  label: strictObject({
    model: ModelName('Name of the model'),
    label: Label('stable, canary or any other label that the model has'),
  }),
};
export interface Target {
  model: string;
  version?: number;
  label?: string;
}

export const InferenceQuery = strictObject({ ...precisionFields, ...deadlineField });
export type InferenceQuery = Static<typeof InferenceQuery>;

const Signature = Type.Optional(
  Type.String({ description: `"${SIGNATURE}", the only one`, examples: [SIGNATURE], 'x-expected': `"${SIGNATURE}"` }),
);
const tensor =
  'each a nested or flat array of numbers in the input range of the version, or {"b64": "…"} holding an image file';

export const TensorBody = strictObject(
  {
    signature_name: Signature,
    instances: Type.Optional(
      Type.Unknown({ description: `Row format: one to MAX_BATCH tensors or {"${INPUT}": tensor}; ${tensor}` }),
    ),
    inputs: Type.Optional(
      Type.Unknown({ description: `Column format: a batch of tensors, or {"${INPUT}": batch}; ${tensor}` }),
    ),
    ...precisionFields,
  },
  { examples: [{ instances: [{ b64: 'iVBORw0KGgo…' }], bits: 4 }] },
);
export type TensorBody = Static<typeof TensorBody>;

export const ExampleBody = strictObject(
  {
    signature_name: Signature,
    examples: Type.Array(Type.Unknown(), {
      minItems: 1,
      description: `One to MAX_BATCH of {"${INPUT}": tensor}; ${tensor}`,
    }),
    ...precisionFields,
  },
  { examples: [{ examples: [{ [INPUT]: { b64: 'iVBORw0KGgo…' } }] }] },
);
export type ExampleBody = Static<typeof ExampleBody>;

const found = [example.invalidField, example.unknownField, example.modelNotFound];
const target = [...found, example.versionNotFound, example.labelNotFound];
const inference = inferenceErrors(
  ...target,
  example.emptyBody,
  example.malformedJson,
  new ServiceError('bad_request', 'body: expected a whole gzip stream, got something else'),
  new ServiceError('missing_field', 'instances: expected instances or inputs, got neither'),
  new ServiceError('bits_and_budget', 'request: expected bits or a budget, got bits and max_energy_uj'),
  new ServiceError('body_too_deep', 'body: expected at most 32 levels of arrays and objects, got more at byte 47'),
  new ServiceError('wrong_shape', 'instances[0]: expected [28,28,1], [28,28] or 784 numbers, got shape [27,28]'),
  new ServiceError('not_finite', 'instances[0][3]: expected a number from 0 to 1, got Infinity'),
  new ServiceError('out_of_range', 'instances[0][3]: expected a number from 0 to 1, got 255'),
  new ServiceError('bad_image', 'instances[0].b64: expected a whole JPEG, PNG, WebP, GIF, TIFF or AVIF image'),
  new ServiceError('batch_too_large', 'instances: expected at most 64 instances, got 65'),
  example.bodyTooLarge,
  new ServiceError('image_too_large', 'instances[0].b64: expected at most 50000000 pixels, the image has more'),
  new ServiceError('unsupported_media_type', 'content-encoding: expected gzip, deflate or identity, got "br"'),
  new ServiceError('budget_infeasible', 'no precision meets every budget; for the cheapest, 2 × 2 bits, …'),
  new ServiceError('accuracy_unknown', 'min_accuracy: expected a version whose accuracy was measured'),
  new ServiceError('no_precision_table', 'the version has no evaluated precision to choose from; name bits'),
  new ServiceError('variant_too_large', 'variant: expected at most 1048576 bytes, got 2000000'),
  ...overload,
);

const header = (schema: TSchema, description: string) => ({ ...schema, description });
/** Of an answer that ran something. */
const ran = {
  'x-bitdial-version': header(Type.Integer(), 'Version that answered'),
  'x-bitdial-bits': header(Type.Integer(), 'Weight bits that ran'),
  'x-bitdial-activation-bits': header(Type.Integer(), 'Activation bits that ran'),
  'x-bitdial-energy-uj': header(Type.Number(), 'Microjoules of the whole request, by the energy table'),
  'x-bitdial-memory-bytes': header(Type.Integer(), 'Resident bytes of the variant'),
  'x-bitdial-degraded': header(Type.String(), 'Why fewer bits ran than would have: `overload` or `power`; else absent'),
  'x-bitdial-expected-accuracy': header(Type.Number(), 'Held-out accuracy of this precision, where it was measured'),
};

const Probabilities = Type.Array(Type.Array(Type.Number()), {
  description: `Probabilities, [instances, classes]: the output "${OUTPUT}"`,
});

export const predictResponses = {
  200: json(
    'Probabilities: `predictions` for `instances`, `outputs` for `inputs`',
    strictObject({ predictions: Type.Optional(Probabilities), outputs: Type.Optional(Probabilities) }),
    { predictions: [[0.001, 0.998, 0.001]] },
    ran,
  ),
  ...inference,
};

export const classifyResponses = {
  200: json(
    'For each example a pair of label and probability for each class, in the order of the classes',
    strictObject({ results: Type.Array(Type.Array(Type.Array(Type.Union([Type.String(), Type.Number()])))) }),
    {
      results: [
        [
          ['cat', 0.998],
          ['dog', 0.002],
        ],
      ],
    },
    ran,
  ),
  ...inference,
};

const available = { version: '1', state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } };
export const statusResponses = {
  200: json(
    'The state of the version that the path names, else of all, newest first',
    strictObject({
      model_version_status: Type.Array(
        strictObject({
          version: Type.String(),
          state: Type.String(),
          status: strictObject({ error_code: Type.String(), error_message: Type.String() }),
        }),
      ),
    }),
    { model_version_status: [available] },
  ),
  ...inferenceErrors(...target),
};

const TensorInfo = strictObject({
  dtype: Type.String(),
  tensor_shape: strictObject({
    dim: Type.Array(strictObject({ size: Type.String(), name: Type.String() })),
    unknown_rank: Type.Boolean(),
  }),
  name: Type.String(),
});
const dims = (...sizes: number[]) => ({ dim: sizes.map((n) => ({ size: `${n}`, name: '' })), unknown_rank: false });
const signature = {
  inputs: { [INPUT]: { dtype: 'DT_FLOAT', tensor_shape: dims(-1, 28, 28, 1), name: `${SIGNATURE}_${INPUT}:0` } },
  outputs: { [OUTPUT]: { dtype: 'DT_FLOAT', tensor_shape: dims(-1, 10), name: 'StatefulPartitionedCall:0' } },
  method_name: 'tensorflow/serving/predict',
};
export const metadataResponses = {
  200: json(
    'The signature of a version: names, types and shapes of its input and output',
    strictObject({
      model_spec: strictObject({ name: Type.String(), signature_name: Type.String(), version: Type.String() }),
      metadata: strictObject({
        signature_def: strictObject({
          signature_def: Type.Record(
            Type.String(),
            strictObject({
              inputs: Type.Record(Type.String(), TensorInfo),
              outputs: Type.Record(Type.String(), TensorInfo),
              method_name: Type.String(),
            }),
          ),
        }),
      }),
    }),
    {
      model_spec: { name: 'mnist-lenet', signature_name: '', version: '1' },
      metadata: { signature_def: { signature_def: { [SIGNATURE]: signature } } },
    },
  ),
  ...inferenceErrors(...target),
};
