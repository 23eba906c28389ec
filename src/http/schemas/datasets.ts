import Type from 'typebox';
import { ServiceError } from '../../errors.js';
import { DATASET_NAME } from '../../training/datasets/table.js';
import { ARCHIVE_TYPES } from '../plugins/bodies.js';
import { nullable, strictObject } from './common.js';
import { SkippedFiles } from './jobs.js';
import { example, json, problems } from './responses.js';

const Name = (description: string) =>
  Type.String({
    pattern: DATASET_NAME.source,
    'x-expected': 'a data set name: 1 to 64 of a-z 0-9 . _ -',
    examples: ['pets'],
    description,
  });

export const DatasetParams = strictObject({ name: Name('Name of the data set') });

export const DatasetQuery = strictObject({
  name: Name('Name that trainings will use'),
  replace: Type.Optional(
    Type.Unsafe<'true' | 'false'>({
      type: 'string',
      enum: ['true', 'false'],
      default: 'false',
      description: 'Whether a data set of this name gives way',
      examples: ['true'],
    }),
  ),
});

const archive = Type.String({
  format: 'binary',
  description:
    'A tar archive, plain or gzip: IDX files, CIFAR binary files, or a folder of images for each class, below train and ' +
    'test or directly; dataset.json is optional',
});

export const archiveBody = { content: Object.fromEntries(ARCHIVE_TYPES.map((type) => [type, { schema: archive }])) };

const Kind = Type.Unsafe({ type: 'string', enum: ['idx', 'cifar-binary', 'images'] });

const Summary = Type.Object({
  name: Type.String(),
  kind: Kind,
  input_shape: Type.Array(Type.Integer(), { description: 'height, width, channels' }),
  labels: Type.Array(Type.String(), { description: 'In the order of the logits' }),
  examples: Type.Object({ train: Type.Integer(), validation: Type.Integer(), test: Type.Integer() }),
  skipped: nullable(SkippedFiles),
});

const Entry = Type.Object({
  name: Type.String(),
  built_in: Type.Boolean(),
  kind: nullable(Kind),
  error: nullable(Type.String({ description: 'Why it cannot be trained on' })),
});

export const listResponses = {
  200: json('The data sets, built-in ones first', Type.Object({ datasets: Type.Array(Entry) }), {
    datasets: [
      { name: 'mnist', built_in: true, kind: 'idx', error: null },
      { name: 'pets', built_in: false, kind: 'images', error: null },
    ],
  }),
  ...problems(example.unknownField, example.unauthorized),
};

const inUse = new ServiceError('dataset_in_use', 'expected no job that uses data set "pets", got 01k3x9v7q2', {
  field: 'name',
  job: '01k3x9v7q2',
});
const builtIn = new ServiceError('invalid_field', 'name: expected a name that is not built in, got "mnist"', {
  field: 'name',
  expected: 'a name that is not built in',
  actual: 'mnist',
});

export const addResponses = {
  201: json('The data set, as a training would see it', Summary, {
    name: 'pets',
    kind: 'images',
    input_shape: [32, 32, 3],
    labels: ['cat', 'dog'],
    examples: { train: 850, validation: 45, test: 100 },
    skipped: { count: 1, of: 996, files: ['cat/17.jpg: expected a whole JPEG, PNG … image'] },
  }),
  ...problems(
    builtIn,
    example.unknownField,
    new ServiceError('missing_field', 'query: expected the field name (a data set name), got nothing', {
      field: 'name',
      expected: 'a data set name',
      actual: 'nothing',
    }),
    example.partOfBody,
    new ServiceError('empty_body', 'body: expected a body (one of application/x-tar, application/gzip), got nothing'),
    new ServiceError('bad_archive', 'archive: expected files and folders, got "cat/link", a SymbolicLink', {
      expected: 'files and folders',
      actual: '"cat/link", a SymbolicLink',
    }),
    example.unauthorized,
    example.requestTimeout,
    new ServiceError('dataset_exists', 'name: expected one that is free, or replace=true, got "pets"', {
      field: 'name',
      expected: 'a name that is free',
      actual: 'pets',
    }),
    inUse,
    new ServiceError('body_too_large', 'archive: expected at most 4294967296 bytes of files, got more', {
      expected: 'at most 4294967296 bytes of files',
      actual: 'more',
    }),
    example.mediaType,
    new ServiceError('bad_dataset', 'data set pets: folder: expected IDX files …, got "notes.txt"', {
      where: 'folder',
      expected: 'IDX files …',
      actual: '"notes.txt"',
      dataset: 'pets',
    }),
    new ServiceError('storage_full', 'the data set does not fit on the disk', { dataset: 'pets' }),
    example.queueUnavailable,
  ),
};

export const removeResponses = {
  204: { description: 'It is gone', type: 'null' },
  ...problems(
    builtIn,
    example.unknownField,
    example.unauthorized,
    new ServiceError('dataset_not_found', 'no data set "cats"', { field: 'name' }),
    inUse,
    example.queueUnavailable,
  ),
};
