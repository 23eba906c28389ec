/** The bodies of `POST /admin/models`, and the answer. */
import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { IMPORTS_FOLDER } from '../../importing/importer.js';
import { PREPROCESSINGS, type Preprocessing } from '../../importing/preprocessing.js';
import {
  IMPORT_DEFAULTS,
  MOST_CALIBRATION_IMAGES,
  MOST_LABEL_CHARACTERS,
  MOST_LABELS,
  RESIZES,
} from '../../importing/request.js';
import { ARCHIVE_TYPES, JSON_TYPE } from '../plugins/bodies.js';
import { AnyObject, ModelName, strictObject } from './common.js';
import { PrecisionRow } from './models.js';
import { example, json, problems } from './responses.js';

const optional = Type.Optional;

const common = {
  preprocessing: optional(
    Type.Unsafe<Preprocessing>({
      type: 'string',
      enum: Object.keys(PREPROCESSINGS),
      default: IMPORT_DEFAULTS.preprocessing,
      description:
        'What becomes of pixels p: unit p/255; none p; tf and mobilenet p/127.5 − 1; torch (p/255 − mean)/deviation of ' +
        'ImageNet; caffe blue, green, red, less a mean',
      examples: ['mobilenet'],
    }),
  ),
  resize: optional(
    Type.Unsafe<(typeof RESIZES)[number]>({
      type: 'string',
      enum: [...RESIZES],
      default: IMPORT_DEFAULTS.resize,
      description: 'How images of other sizes are fitted: stretched, cropped, or letter-boxed',
      examples: ['cover'],
    }),
  ),
  calibration: optional(
    Type.String({
      minLength: 1,
      description: 'Folder of images, below DATA_DIR, that make the activation ranges; without: from the weights alone',
      examples: ['datasets/pets'],
    }),
  ),
  calibration_images: optional(
    Type.Integer({
      minimum: 1,
      maximum: MOST_CALIBRATION_IMAGES,
      default: IMPORT_DEFAULTS.calibration_images,
      description: 'At most so many of them; fewer where the model is large',
      examples: [64],
    }),
  ),
};

const text = (pattern: string, expected: string, description: string, ...examples: string[]) =>
  optional(Type.String({ pattern, 'x-expected': expected, description, examples }));
const NUMBER = '-?\\d{1,6}(\\.\\d{1,9})?';

/** Of an archive; a JSON body has these as fields. */
export const ImportQuery = strictObject({
  model: optional(ModelName('With an archive: name that the version is published under')),
  ...common,
  input_range: text(
    `^${NUMBER},${NUMBER}$`,
    'two numbers: low,high',
    'What pixel values 0 and 255 become, where no preprocessing fits',
    '-1,1',
  ),
  input_shape: text(
    '^\\d{1,6},\\d{1,6},\\d{1,6}$',
    'three whole numbers: height,width,channels',
    'The image, where the model takes a list of numbers',
    '28,28,1',
  ),
  make_current: optional(
    Type.Unsafe<'true' | 'false'>({
      type: 'string',
      enum: ['true', 'false'],
      default: String(IMPORT_DEFAULTS.make_current),
      description: 'Whether the version becomes the current one',
      examples: ['true'],
    }),
  ),
});
export type ImportQuery = Static<typeof ImportQuery>;

export const ImportBody = strictObject(
  {
    model: ModelName('Name that the version is published under'),
    path: Type.String({
      minLength: 1,
      description: `A model.json, or its folder, below DATA_DIR/${IMPORTS_FOLDER}`,
      examples: ['mobilenet'],
    }),
    ...common,
    input_range: optional(
      Type.Array(Type.Number(), {
        minItems: 2,
        maxItems: 2,
        description: 'What pixel values 0 and 255 become, where no preprocessing fits',
      }),
    ),
    input_shape: optional(
      Type.Array(Type.Integer({ minimum: 1 }), {
        minItems: 3,
        maxItems: 3,
        description: 'height, width, channels of the image, where the model takes a list of numbers',
      }),
    ),
    labels: optional(
      Type.Array(Type.String({ minLength: 1, maxLength: MOST_LABEL_CHARACTERS }), {
        minItems: 1,
        maxItems: MOST_LABELS,
        description: 'One for each output; default: the lines of labels.txt beside model.json, else numbers',
      }),
    ),
    make_current: optional(
      Type.Boolean({
        default: IMPORT_DEFAULTS.make_current,
        description: 'Whether the version becomes the current one',
      }),
    ),
  },
  { examples: [{ model: 'mobilenet', path: 'mobilenet', preprocessing: 'mobilenet' }] },
);
export type ImportBody = Static<typeof ImportBody>;

const archive = Type.String({
  format: 'binary',
  description:
    'A tar archive, plain or gzip: model.json as TF.js or tensorflowjs_converter writes it (a layers model), its weight ' +
    'files, and labels.txt where there are labels; what JSON says in fields stands in the query',
});

export const importBody = {
  content: {
    [JSON_TYPE]: { schema: ImportBody },
    ...Object.fromEntries(ARCHIVE_TYPES.map((type) => [type, { schema: archive }])),
  },
};

const Answer = Type.Object({
  model: Type.String(),
  version: Type.Integer(),
  digest: Type.String(),
  input: AnyObject('Input spec: shape, range, resize'),
  labels: Type.Integer({ description: 'How many' }),
  layers: Type.Record(Type.String(), Type.Integer(), { description: 'By kind, activation functions included' }),
  parameters: Type.Integer({ description: 'Numbers in the weights' }),
  ranges: Type.Unsafe({
    type: 'string',
    enum: ['data-free', 'calibration'],
    description: 'Where activation ranges come from',
  }),
  calibration_images: Type.Integer(),
  default_precision: Type.String(),
  precisions: Type.Array(PrecisionRow, { description: 'What each costs; accuracy is not known without test images' }),
});

export const importResponses = {
  201: json(
    'The version; it is served at every width at once',
    Answer,
    {
      model: 'mobilenet',
      version: 1,
      digest: 'b7c1…',
      input: { shape: [224, 224, 3], range: [-1, 1], resize: 'fill' },
      labels: 1000,
      layers: { zero_pad: 5, conv2d: 35, batch_norm: 52, relu: 35, depthwise_conv2d: 17, add: 10, dense: 1 },
      parameters: 1691208,
      ranges: 'data-free',
      calibration_images: 0,
      default_precision: '8x8',
      precisions: [
        {
          bits: 8,
          activation_bits: 8,
          accuracy: null,
          images: 0,
          energy_uj: 293.8,
          memory_bytes: 1726368,
          macs: 59285808,
          clip_rule: 'squared-error',
          range_factor: 1,
          bias_correction: false,
        },
      ],
    },
    { location: Type.String({ description: 'Of the version: /models/{model}?version={version}' }) },
  ),
  ...problems(
    new ServiceError('invalid_field', 'path: expected a file or folder that is there, got "mobilnet"', {
      field: 'path',
      expected: 'a file or folder that is there',
      actual: '"mobilnet"',
    }),
    example.unknownField,
    new ServiceError('missing_field', 'model: expected a name, got nothing', { field: 'model', expected: 'a name' }),
    example.partOfBody,
    example.emptyBody,
    example.malformedJson,
    new ServiceError('bad_archive', 'archive: expected names without "..", got "../model.json"', {
      expected: 'names without ".."',
      actual: '"../model.json"',
    }),
    example.unauthorized,
    example.requestTimeout,
    new ServiceError('body_too_large', 'archive: expected at most 2147483648 bytes of files, got more', {
      expected: 'at most 2147483648 bytes of files',
      actual: 'more',
    }),
    example.mediaType,
    new ServiceError('unsupported_layer', 'layer "lstm_1" (LSTM): this layer is not supported', {
      layer: 'lstm_1',
      class_name: 'LSTM',
    }),
    new ServiceError('bad_model', 'weight "Conv1/kernel": expected an entry in weightsManifest, got nothing', {
      where: 'weight "Conv1/kernel"',
      expected: 'an entry in weightsManifest',
      actual: 'nothing',
    }),
    new ServiceError('too_many_requests', 'expected one import at a time, one is running', { retry_after_s: 5 }),
    new ServiceError('storage_full', 'the model does not fit on the disk', { model: 'mobilenet' }),
  ),
};
