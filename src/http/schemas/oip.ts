/** The Open Inference Protocol beside `infer`: server, health, metadata, statistics, repository. */
import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { ModelName, strictObject, VersionNumber } from './common.js';
import { example, inferenceErrors, json, noRoom } from './responses.js';

export const InferenceModel = strictObject({ model: ModelName('Name of the model') });
export const InferenceVersion = strictObject({
  model: ModelName('Name of the model'),
  version: VersionNumber('Number of the version'),
});

const badName = new ServiceError('invalid_field', 'model: expected a model name: 1 to 64 of a-z 0-9 . _ -, got "A"');
const badQuery = new ServiceError('unknown_field', 'query: expected no field, got "x"');
const modelErrors = [badName, badQuery, example.modelNotFound, example.versionNotFound];

export const serverResponses = {
  200: json(
    'The server, and the extensions that it has',
    Type.Object({ name: Type.String(), version: Type.String(), extensions: Type.Array(Type.String()) }),
    { name: 'bitdial', version: '0.1.0', extensions: ['binary_tensor_data', 'classification'] },
  ),
  ...inferenceErrors(badQuery),
};

export const inferenceLiveResponses = {
  200: json('The process answers', Type.Object({ live: Type.Boolean() }), { live: true }),
  ...inferenceErrors(badQuery),
};

export const inferenceReadyResponses = {
  200: json('The default variant has answered its warm-up', Type.Object({ ready: Type.Boolean() }), { ready: true }),
  ...inferenceErrors(
    badQuery,
    new ServiceError('not_ready', 'expected a warm default variant, got: the service is shutting down'),
  ),
};

export const modelReadyResponses = {
  200: json('The model answers', Type.Object({ name: Type.String(), ready: Type.Boolean() }), {
    name: 'mnist-lenet',
    ready: true,
  }),
  ...inferenceErrors(...modelErrors, new ServiceError('not_ready', 'model "mnist-lenet" was unloaded here')),
};

const Parameters = (description: string) =>
  Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]), { description });
const TensorMetadata = Type.Object({
  name: Type.String(),
  datatype: Type.String(),
  shape: Type.Array(Type.Integer(), { description: '-1: any number' }),
  parameters: Type.Optional(Parameters('Of the input: every datatype that it takes, and the range of FP32')),
});
export const ModelMetadata = Type.Object({
  name: Type.String(),
  versions: Type.Array(Type.String()),
  platform: Type.String(),
  inputs: Type.Array(TensorMetadata),
  outputs: Type.Array(TensorMetadata),
  parameters: Parameters('The version that was described: number, digest, default precision'),
});
export type ModelMetadata = Static<typeof ModelMetadata>;

export const metadataResponses = {
  200: json('Inputs and outputs of a version', ModelMetadata, {
    name: 'mnist-lenet',
    versions: ['1'],
    platform: 'bitdial',
    inputs: [
      {
        name: 'input',
        datatype: 'FP32',
        shape: [-1, 28, 28, 1],
        parameters: { datatypes: 'FP32,UINT8,BYTES', low: 0, high: 1 },
      },
    ],
    outputs: [
      { name: 'probabilities', datatype: 'FP32', shape: [-1, 10] },
      { name: 'logits', datatype: 'FP32', shape: [-1, 10] },
      { name: 'label', datatype: 'BYTES', shape: [-1] },
    ],
    parameters: { version: '1', digest: 'b7c1…', bits: 8, activation_bits: 8 },
  }),
  ...inferenceErrors(...modelErrors),
};

const ConfigTensor = { name: Type.String(), data_type: Type.String(), dims: Type.Array(Type.Integer()) };
export const ModelConfig = Type.Object({
  name: Type.String(),
  platform: Type.String(),
  backend: Type.String(),
  max_batch_size: Type.Integer({ description: 'MAX_BATCH; the shapes below are without the batch' }),
  input: Type.Array(Type.Object(ConfigTensor)),
  output: Type.Array(Type.Object(ConfigTensor)),
});
export type ModelConfig = Static<typeof ModelConfig>;

export const configResponses = {
  200: json('The configuration that clients of Triton ask for', ModelConfig, {
    name: 'mnist-lenet',
    platform: 'bitdial',
    backend: 'bitdial',
    max_batch_size: 64,
    input: [{ name: 'input', data_type: 'TYPE_FP32', dims: [28, 28, 1] }],
    output: [
      { name: 'probabilities', data_type: 'TYPE_FP32', dims: [10] },
      { name: 'logits', data_type: 'TYPE_FP32', dims: [10] },
      { name: 'label', data_type: 'TYPE_STRING', dims: [] },
    ],
  }),
  ...inferenceErrors(...modelErrors),
};

const Duration = Type.Object({ count: Type.Integer(), ns: Type.Integer({ description: 'Sum of nanoseconds' }) });
const Stages = { compute_input: Duration, compute_infer: Duration, compute_output: Duration };
const ModelStats = Type.Object({
  name: Type.String(),
  version: Type.String(),
  last_inference: Type.Integer({ description: 'Milliseconds since the epoch; 0 before the first' }),
  inference_count: Type.Integer({ description: 'Instances' }),
  execution_count: Type.Integer({ description: 'Runs of the engine' }),
  inference_stats: Type.Object({
    success: Duration,
    fail: Duration,
    queue: Duration,
    ...Stages,
    cache_hit: Duration,
    cache_miss: Duration,
  }),
  batch_stats: Type.Array(Type.Object({ batch_size: Type.Integer(), ...Stages })),
  memory_usage: Type.Array(Type.Object({ type: Type.String(), id: Type.Integer(), byte_size: Type.Integer() }), {
    description: 'Of the resident variants',
  }),
});

const once = (ns: number) => ({ count: 1, ns });
export const statisticsResponses = {
  200: json('Since the process started, whatever the protocol', Type.Object({ model_stats: Type.Array(ModelStats) }), {
    model_stats: [
      {
        name: 'mnist-lenet',
        version: '1',
        last_inference: 1764000000000,
        inference_count: 4,
        execution_count: 1,
        inference_stats: {
          success: once(412000),
          fail: { count: 0, ns: 0 },
          queue: once(20000),
          compute_input: once(31000),
          compute_infer: once(205000),
          compute_output: once(18000),
          cache_hit: { count: 0, ns: 0 },
          cache_miss: { count: 0, ns: 0 },
        },
        batch_stats: [
          { batch_size: 4, compute_input: once(31000), compute_infer: once(205000), compute_output: once(18000) },
        ],
        memory_usage: [{ type: 'CPU', id: 0, byte_size: 32624 }],
      },
    ],
  }),
  ...inferenceErrors(...modelErrors),
};

export const IndexBody = strictObject(
  { ready: Type.Optional(Type.Boolean({ description: 'Only what answers', examples: [true] })) },
  { examples: [{ ready: true }] },
);
export type IndexBody = Static<typeof IndexBody>;

export const indexResponses = {
  200: json(
    'Every version of every model',
    Type.Array(
      Type.Object({
        name: Type.String(),
        version: Type.String(),
        state: Type.Unsafe<'READY' | 'UNAVAILABLE'>({ type: 'string', enum: ['READY', 'UNAVAILABLE'] }),
        reason: Type.String({ description: 'Empty where it is ready' }),
      }),
    ),
    [{ name: 'mnist-lenet', version: '1', state: 'READY', reason: '' }],
  ),
  ...inferenceErrors(
    new ServiceError('invalid_field', 'ready: expected true or false, got 1'),
    badQuery,
    example.malformedJson,
    example.bodyTooLarge,
    ...noRoom,
  ),
};

export const ControlBody = strictObject(
  {
    parameters: Type.Optional(
      strictObject({
        unload_dependents: Type.Optional(Type.Boolean({ description: 'No model here depends on another: ignored' })),
      }),
    ),
  },
  { examples: [{ parameters: { unload_dependents: false } }] },
);

export const controlResponses = {
  200: json('Done', Type.Object({}), {}),
  ...inferenceErrors(
    badName,
    new ServiceError('unknown_field', 'body: expected only unload_dependents, got "parameters.config"'),
    example.malformedJson,
    example.unauthorized,
    example.modelNotFound,
    example.bodyTooLarge,
    new ServiceError('variant_too_large', 'variant: expected at most 1048576 bytes, got 2000000'),
    new ServiceError('overloaded', 'the variant cache has no room', { retry_after_s: 1 }),
  ),
};
