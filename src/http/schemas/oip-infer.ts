/** `POST /v2/models/{model}/infer`: what a request says, and what its answer. */
import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { strictObject } from './common.js';
import { precisionFields } from './precision.js';
import { body, example, inferenceErrors, json, overload } from './responses.js';

export const INPUT = 'input';
export const OUTPUTS = ['probabilities', 'logits', 'label'] as const;
export type OutputName = (typeof OUTPUTS)[number];
export const DATATYPES = ['FP32', 'UINT8', 'BYTES'] as const;
export type Datatype = (typeof DATATYPES)[number];

const DatatypeSchema = (description: string) =>
  Type.Unsafe<Datatype>({ type: 'string', enum: [...DATATYPES], description, examples: ['UINT8'] });

/** What says how precise the answer is to be, and how soon it is needed. */
const dial = {
  ...precisionFields,
  timeout: Type.Optional(
    Type.Integer({
      minimum: 0,
      description: 'Microseconds within which the answer is worth having; 0: any time',
      examples: [500000],
    }),
  ),
};

/** For a raw body, in which no JSON can hold them. */
export const InferQuery = strictObject({
  ...dial,
  datatype: Type.Optional(
    DatatypeSchema('Of a raw body; default FP32, or an image file where its content type is one'),
  ),
});
export type InferQuery = Static<typeof InferQuery>;

/** Sent by clients of other servers; nothing here has priorities, sequences or codecs. */
const ignored = Object.fromEntries(
  ['priority', 'sequence_id', 'sequence_start', 'sequence_end', 'content_type', 'headers'].map((name) => [
    name,
    Type.Optional(Type.Unknown({ description: 'Ignored' })),
  ]),
);

const RequestParameters = strictObject({
  ...dial,
  binary_data_output: Type.Optional(
    Type.Boolean({ description: 'Every output as binary data, unless it says otherwise' }),
  ),
  ...ignored,
});
export type RequestParameters = Static<typeof RequestParameters>;

const InputTensor = strictObject({
  name: Type.Unsafe<string>({ type: 'string', enum: [INPUT] }),
  shape: Type.Array(Type.Integer({ minimum: 1 }), {
    minItems: 1,
    maxItems: 8,
    description: '[n, height, width, channels]; of BYTES [n] or [n, 1]',
  }),
  datatype: DatatypeSchema(
    'FP32: in the input range of the version; UINT8: pixels 0 to 255; BYTES: image files, in JSON as base64',
  ),
  parameters: Type.Optional(
    strictObject({
      binary_data_size: Type.Optional(Type.Integer({ minimum: 0, description: 'Bytes of it behind the JSON' })),
      content_type: Type.Optional(Type.Unknown({ description: 'Ignored' })),
    }),
  ),
  data: Type.Optional(Type.Array(Type.Unknown(), { description: 'Flat or nested; absent where the data is binary' })),
});

const RequestedOutput = strictObject({
  name: Type.Unsafe<OutputName>({ type: 'string', enum: [...OUTPUTS] }),
  parameters: Type.Optional(
    strictObject({
      binary_data: Type.Optional(Type.Boolean({ description: 'As binary data behind the JSON' })),
      classification: Type.Optional(
        Type.Integer({ minimum: 0, description: 'The so many highest, as "value:index:label"; 0: the tensor itself' }),
      ),
      content_type: Type.Optional(Type.Unknown({ description: 'Ignored' })),
    }),
  ),
});

export const InferBody = strictObject(
  {
    id: Type.Optional(Type.String({ maxLength: 1024, description: 'Comes back in the answer' })),
    model_name: Type.Optional(Type.String({ description: 'Ignored: the path names the model' })),
    model_version: Type.Optional(Type.String({ description: 'Ignored: the path names the version' })),
    parameters: Type.Optional(RequestParameters),
    inputs: Type.Array(InputTensor, { minItems: 1, maxItems: 1, 'x-expected': 'an array of one input tensor' }),
    outputs: Type.Optional(Type.Array(RequestedOutput, { maxItems: 3, description: 'Default, or empty: all' })),
  },
  {
    examples: [
      {
        id: '42',
        parameters: { bits: 4, activation_bits: 8 },
        inputs: [{ name: INPUT, shape: [1], datatype: 'BYTES', data: ['iVBORw0KGgo…'] }],
        outputs: [{ name: 'label' }, { name: 'probabilities', parameters: { classification: 2 } }],
      },
    ],
  },
);
export type InferBody = Static<typeof InferBody>;

export const HEADER_LENGTH = 'inference-header-content-length';
export const InferHeaders = Type.Object({
  [HEADER_LENGTH]: Type.Optional(
    Type.String({
      pattern: '^[0-9]{1,15}$',
      description: 'Bytes of the JSON where binary data is behind it; 0: the body is the input tensor alone',
      'x-expected': 'a whole number of bytes',
      examples: ['182'],
    }),
  ),
});

const binary = (description: string) => ({ schema: Type.String({ format: 'binary', description }) });

export const inferBody = {
  content: {
    'application/json': { schema: InferBody },
    'application/octet-stream': binary('The JSON and behind it the binary data; or, with a JSON of 0 bytes, raw data'),
  },
};

const OutputTensor = Type.Object({
  name: Type.Unsafe<OutputName>({ type: 'string', enum: [...OUTPUTS] }),
  datatype: Type.Unsafe<'FP32' | 'BYTES'>({ type: 'string', enum: ['FP32', 'BYTES'] }),
  shape: Type.Array(Type.Integer()),
  parameters: Type.Optional(Type.Object({ binary_data_size: Type.Integer() })),
  data: Type.Optional(Type.Array(Type.Unknown(), { description: 'Flat; absent where the data is binary' })),
});

/** What ran and what it cost, in the words of `POST /predict`. */
const AnswerParameters = Type.Object({
  digest: Type.String({ description: 'Of the version' }),
  bits: Type.Integer(),
  activation_bits: Type.Integer(),
  energy_uj: Type.Number({ description: 'All instances together, by the energy table' }),
  memory_bytes: Type.Integer({ description: 'Resident bytes of the variant' }),
  expected_accuracy: Type.Optional(
    Type.Number({ description: 'Held-out accuracy of this precision; absent where it was never measured' }),
  ),
  engine: Type.String(),
  cached: Type.Boolean({ description: 'The variant was resident' }),
  build_ms: Type.Number(),
  queue_ms: Type.Number(),
  compute_ms: Type.Number(),
  degraded: Type.Optional(
    Type.Unsafe<'overload' | 'power'>({
      type: 'string',
      enum: ['overload', 'power'],
      description:
        'Only where the service lowered the bits of a request that named none: why, and beside it from which',
    }),
  ),
  degraded_from_bits: Type.Optional(Type.Integer()),
  degraded_from_activation_bits: Type.Optional(Type.Integer()),
});
export type AnswerParameters = Static<typeof AnswerParameters>;

export const InferAnswer = Type.Object({
  model_name: Type.String(),
  model_version: Type.String(),
  id: Type.Optional(Type.String({ description: 'As in the request' })),
  parameters: AnswerParameters,
  outputs: Type.Array(OutputTensor),
});
export type InferAnswer = Static<typeof InferAnswer>;

const answer: InferAnswer = {
  model_name: 'mnist-lenet',
  model_version: '1',
  id: '42',
  parameters: {
    digest: 'b7c1…',
    bits: 4,
    activation_bits: 8,
    energy_uj: 5.2,
    memory_bytes: 32624,
    expected_accuracy: 0.9923,
    engine: 'native-avx512-vnni',
    cached: true,
    build_ms: 3.1,
    queue_ms: 0.02,
    compute_ms: 0.05,
  },
  outputs: [
    { name: 'label', datatype: 'BYTES', shape: [1], data: ['7'] },
    { name: 'probabilities', datatype: 'BYTES', shape: [1, 2], data: ['0.999706:7:7', '0.000132:2:2'] },
  ],
};

export const inferResponses = {
  200: {
    ...json('The outputs, and what ran', InferAnswer, answer),
    content: {
      ...json('', InferAnswer, answer).content,
      ...body(
        'application/octet-stream',
        '',
        Type.String({ format: 'binary', description: 'The JSON and behind it the binary data, output by output' }),
        '{"model_name":"mnist-lenet",…}…',
      ).content,
    },
    headers: {
      'Inference-Header-Content-Length': Type.Integer({ description: 'Bytes of the JSON, where binary data follows' }),
      'Content-Encoding': Type.String({ description: 'gzip or deflate, where Accept-Encoding asks for it' }),
    },
  },
  ...inferenceErrors(
    example.emptyBody,
    example.malformedJson,
    example.partOfBody,
    new ServiceError('invalid_field', 'inputs.0.shape.0: expected a whole number of at least 1, got -1'),
    new ServiceError('unknown_field', 'body: expected only bits, activation_bits, …, got "parameters.bit"'),
    new ServiceError('missing_field', 'body: expected the field inputs (an array of one input tensor), got nothing'),
    new ServiceError('bits_and_budget', 'request: expected bits or a budget, got bits and max_energy_uj'),
    new ServiceError('wrong_shape', 'shape: expected [n,28,28,1] with n of at least 1, got [1,27,28,1]'),
    new ServiceError('not_finite', 'data: number 3 (of instance 0) is NaN, expected a finite number'),
    new ServiceError('out_of_range', 'data[3]: expected a number from 0 to 1, got 255'),
    new ServiceError('bad_image', 'data[0]: expected a whole JPEG, PNG, WebP, GIF, TIFF or AVIF image'),
    new ServiceError('batch_too_large', 'shape: expected at most 64 instances, got 65'),
    new ServiceError('body_too_deep', 'body: expected at most 32 levels of arrays and objects, got more at byte 47'),
    example.modelNotFound,
    example.versionNotFound,
    example.bodyTooLarge,
    new ServiceError('image_too_large', 'data[0]: expected at most 50000000 pixels, the image has more'),
    new ServiceError('unsupported_media_type', 'content-encoding: expected gzip, deflate or identity, got "br"'),
    new ServiceError('budget_infeasible', 'budget: expected at least 0.7 microjoules, got 0.1'),
    new ServiceError('accuracy_unknown', 'min_accuracy: expected a version whose accuracy was measured, got another'),
    new ServiceError('no_precision_table', 'budget: expected a version with a precision table, got one without'),
    new ServiceError('variant_too_large', 'variant: expected at most 1048576 bytes, got 2000000'),
    new ServiceError('not_ready', 'model "tiny" was unloaded here; POST /v2/repository/models/tiny/load loads it'),
    ...overload,
  ),
};
