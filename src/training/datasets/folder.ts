/** A data set from a folder: whatever is in there becomes labels, shapes and three splits. */
import { ServiceError } from '../../errors.js';
import { hashOf, sha256 } from '../../model/digest.js';
import type { InputSpec } from '../../model/manifest.js';
import { DatasetCache } from './cache.js';
import { CHANNELS, readCifarParts, readNames } from './cifar-binary.js';
import {
  type Augmentation,
  carveValidation,
  consecutive,
  mixed,
  OPEN_DEFAULTS,
  type OpenDataset,
  type OpenOptions,
  VALIDATION_SHARE,
} from './dataset.js';
import { badDataset } from './faults.js';
import { readIdxParts } from './idx.js';
import { decodeAll, skippedOf } from './image-decoding.js';
import { type ImagesLayout, listImages, type Part, sameNames, TEST_SHARE } from './image-listing.js';
import { type Layout, recognise } from './layout.js';
import { type BytePart, openRecords, splitOf } from './records.js';
import { type DatasetSettings, readSettings } from './settings.js';

export interface FolderOptions extends OpenOptions {
  /** Where what is decoded or unpacked is kept. */
  dataDir: string;
  /** What holds where the folder's dataset.json says nothing. */
  presets?: DatasetSettings;
  /** By default the one of the data set's name. */
  cache?: DatasetCache;
}

const DEFAULT_SIDE = 32;
export const BAD_FILE_SHARE = 0.05;
/** Largest shift, as a share of the shorter side. */
const SHIFT = { idx: 1 / 14, 'cifar-binary': 1 / 8, images: 1 / 8 };

/** @throws ServiceError `bad_dataset`, `invalid_field` where the options do not fit; TrainingCancelled */
export async function openFolder(name: string, path: string, options: FolderOptions): Promise<OpenDataset> {
  try {
    return await open(name, path, options);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'bad_dataset') throw error;
    throw new ServiceError('bad_dataset', `data set ${name}: ${error.message}`, { ...error.extra, dataset: name });
  }
}

async function open(name: string, path: string, options: FolderOptions): Promise<OpenDataset> {
  const layout = await recognise(path);
  const settings = { ...options.presets, ...(await readSettings(layout.folder)) };
  const opened =
    layout.kind === 'images'
      ? await openImages(name, layout, settings, options)
      : await openBytes(name, layout, settings, options);
  const { shape: inputShape, range: inputRange, channel_ranges: channelRanges } = opened.input;
  const [height, width] = inputShape;
  const shift = Math.round(Math.min(height, width) * SHIFT[layout.kind]);
  const augmentation: Augmentation = { shift, flip: layout.kind !== 'idx', ...settings.augmentation };
  const classWeights = settings.class_weights ?? null;
  return { name, kind: layout.kind, inputShape, inputRange, channelRanges, classWeights, augmentation, ...opened };
}

/** What the files say; the rest follows from it and from the settings. */
type Opened = Omit<
  OpenDataset,
  'name' | 'kind' | 'inputShape' | 'inputRange' | 'channelRanges' | 'classWeights' | 'augmentation'
>;

async function openBytes(
  name: string,
  layout: Exclude<Layout, ImagesLayout>,
  settings: DatasetSettings,
  options: FolderOptions,
): Promise<Opened> {
  for (const field of ['image_size', 'channels', 'bad_file_share', 'test_share'] as const) {
    if (settings[field] !== undefined) throw badDataset(`dataset.json: ${field}`, 'nothing but for images', 'a value');
  }
  const { maxBytes = OPEN_DEFAULTS.maxBytes, imageSize } = options;
  const parts =
    layout.kind === 'idx' ? await readIdxParts(layout, cacheOf(name, options), maxBytes) : await readCifarParts(layout);
  const { train, test } = parts;
  if (train.shape.some((n, i) => n !== test.shape[i])) {
    throw badDataset(test.files[0].name, `images of ${train.shape.join('×')} as in train`, test.shape.join('×'));
  }
  const [height, width] = train.shape;
  if (imageSize !== undefined && (imageSize !== height || imageSize !== width)) {
    throw imageSizeFault(`${height}×${width}, the size of the images of data set ${name}`, imageSize);
  }
  const labels = namesOf(parts, settings.labels ?? (layout.kind === 'idx' ? null : await readNames(layout)));
  const input = inputOf(train.shape, 'contain', settings, options);
  const planes = layout.kind === 'cifar-binary' ? CHANNELS : undefined;
  const size = train.shape.reduce((a, b) => a * b, 1);
  const share = validationShare(settings, options);
  const carved = carveValidation(train.labels.length, share);
  const classes = Buffer.concat([train.labels, test.labels]);
  const source = openRecords([...train.files, ...test.files], { size, planes });
  const split = (order: Uint32Array) => splitOf(source, classes, order, input);
  return {
    input,
    labels,
    content: contentOf(layout, labels, [sha256(train.labels), sha256(test.labels)]),
    validationShare: share,
    train: split(carved.train),
    validation: split(carved.validation),
    test: split(consecutive(train.labels.length, test.labels.length)),
    skipped: null,
    close: () => source.close(),
  };
}

function cacheOf(name: string, { dataDir, cache }: FolderOptions): DatasetCache {
  return cache ?? new DatasetCache(dataDir, name);
}

/** Of the files as they lie there: what is unpacked from them comes and goes. */
function contentOf(layout: Exclude<Layout, ImagesLayout>, labels: string[], classes: string[]): string {
  const entries = layout.kind === 'idx' ? Object.values(layout.files) : [...layout.train, ...layout.test];
  return hashOf({ files: entries.map(({ name, size, mtimeMs }) => ({ name, size, mtimeMs })), labels, classes });
}

/** The names that are given, or the numbers that occur. */
function namesOf({ train, test }: { train: BytePart; test: BytePart }, given: string[] | null): string[] {
  if (train.labels.length < 2) throw badDataset(train.files[0].name, 'two examples or more', `${train.labels.length}`);
  const largest = [train, test].reduce((max, { labels }) => labels.reduce((a, b) => Math.max(a, b), max), 0);
  const labels = given ?? Array.from({ length: largest + 1 }, (_, i) => String(i));
  if (labels.length < 2) throw badDataset(train.files[0].name, 'labels of two classes or more', 'of one');
  for (const part of [train, test]) {
    const at = part.labels.findIndex((label) => label >= labels.length);
    if (at < 0) continue;
    throw badDataset(part.labelFile, `labels 0 to ${labels.length - 1}`, `${part.labels[at]} at ${at}`);
  }
  return labels;
}

async function openImages(
  name: string,
  layout: ImagesLayout & { folder: string },
  settings: DatasetSettings,
  options: FolderOptions,
): Promise<Opened> {
  const shape = shapeOf(settings, options);
  const shares = { test: settings.test_share ?? TEST_SHARE, validation: validationShare(settings, options) };
  const { files, labels } = await listImages(layout, shares, [options.labels, settings.labels]);
  if (settings.labels && !sameNames(settings.labels, labels)) {
    throw badDataset('dataset.json: labels', `the names of the ${labels.length} sub-folders`, 'others');
  }
  const { maxImagePixels, maxBytes, onProgress, isCancelled } = { ...OPEN_DEFAULTS, ...options };
  const input = inputOf(shape, 'cover', settings, options);
  const { path, size, bad } = await decodeAll(files, cacheOf(name, options), {
    root: layout.folder,
    spec: { shape, resize: input.resize },
    maxImagePixels,
    maxBytes,
    badShare: settings.bad_file_share ?? BAD_FILE_SHARE,
    onProgress,
    isCancelled,
  });
  const wrong = new Set(bad.map(([index]) => index));
  const ofPart = (part: Part) => {
    const order = Uint32Array.from(files.keys()).filter((i) => files[i].part === part && !wrong.has(i));
    if (order.length === 0) throw badDataset('folder', `an image for the ${part} part, and one in each class`, 'none');
    return mixed(order);
  };
  const [train, validation, test] = [ofPart('train'), ofPart('validation'), ofPart('test')];
  const classes = Uint16Array.from(files, ({ label }) => label);
  const present = new Set(Array.from(train, (i) => classes[i]));
  const gone = labels.find((_, label) => !present.has(label));
  if (gone !== undefined) throw badDataset(gone, 'an image that can be read', 'none');
  const source = openRecords([{ path, name: 'pixels', offset: 0, stride: size, count: files.length }], { size });
  const split = (order: Uint32Array) => splitOf(source, classes, order, input);
  return {
    input,
    labels,
    content: hashOf({ files, bad, labels }),
    validationShare: layout.validation === null ? shares.validation : null,
    train: split(train),
    validation: split(validation),
    test: split(test),
    skipped: bad.length > 0 ? skippedOf(bad, files) : null,
    close: () => source.close(),
  };
}

/** What the net takes, else what the request asks for, else what the data set says. */
function shapeOf(settings: DatasetSettings, { input, imageSize }: OpenOptions): [number, number, number] {
  const shape = input?.shape;
  if (shape !== undefined) {
    const [height, width, channels] = shape;
    if (channels !== 1 && channels !== 3) {
      throw badDataset('folder', `images of ${channels} channels, as the net takes them`, 'files, which give 1 or 3');
    }
    if (imageSize !== undefined && (imageSize !== height || imageSize !== width)) {
      throw imageSizeFault(`${height}×${width}, what the net takes`, imageSize);
    }
    return shape;
  }
  const side = imageSize ?? settings.image_size ?? DEFAULT_SIDE;
  const [height, width] = typeof side === 'number' ? [side, side] : side;
  return [height, width, settings.channels ?? 3];
}

/** What is known of the net goes before what the data set says. */
function inputOf(
  shape: InputSpec['shape'],
  resize: InputSpec['resize'],
  settings: DatasetSettings,
  { input }: OpenOptions,
): InputSpec {
  return { range: settings.range ?? [0, 1], resize: settings.resize ?? resize, ...input, shape };
}

function validationShare(settings: DatasetSettings, options: OpenOptions): number {
  return options.validationShare ?? settings.validation_share ?? VALIDATION_SHARE;
}

function imageSizeFault(expected: string, actual: number): ServiceError {
  const detail = `image_size: expected ${expected}, got ${actual}`;
  return new ServiceError('invalid_field', detail, { field: 'image_size', expected, actual });
}
