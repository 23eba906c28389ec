import { ServiceError } from '../errors.js';
import type { InputSpec } from '../model/manifest.js';
import { MODEL_NAME } from '../model/manifest-check.js';
import { PREPROCESSINGS, type Preprocessing } from './preprocessing.js';

/** What an import is told beside the files, checked and with every default filled in. */
export interface ImportRequest {
  model: string;
  /** How pixels become numbers: a name, or the range of 0 and 255. */
  input: { preprocessing: Preprocessing } | { range: [number, number] };
  resize: InputSpec['resize'];
  /** Null: labels.txt beside model.json, else the numbers of the classes. */
  labels: string[] | null;
  /** Where a model takes a list of numbers and not an image: the image that they are. */
  inputShape: [number, number, number] | null;
  /** Images at most that ranges are measured on. */
  calibrationImages: number;
  makeCurrent: boolean;
}

/** The fields as they come: from JSON, from a query, from a command line. */
export interface ImportFields {
  model?: unknown;
  preprocessing?: unknown;
  input_range?: unknown;
  input_shape?: unknown;
  resize?: unknown;
  labels?: unknown;
  calibration_images?: unknown;
  make_current?: unknown;
}

export const IMPORT_DEFAULTS = {
  preprocessing: 'unit',
  resize: 'fill',
  calibration_images: 128,
  make_current: true,
} as const;
export const RESIZES = ['fill', 'cover', 'contain'] as const;
export const MOST_CALIBRATION_IMAGES = 1000;
export const MOST_LABELS = 100_000;
export const MOST_LABEL_CHARACTERS = 256;

/** @throws ServiceError missing_field, invalid_field (extra: field, expected, actual) */
export function parseImportRequest(fields: ImportFields): ImportRequest {
  const { model, input_range: range, input_shape: shape, labels, make_current: makeCurrent } = fields;
  if (model === undefined) {
    throw new ServiceError('missing_field', 'model: expected a name, got nothing', {
      field: 'model',
      expected: 'a name',
    });
  }
  if (typeof model !== 'string' || !MODEL_NAME.test(model)) {
    throw invalid('model', 'a name of 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit, without ..', model);
  }
  if (range !== undefined && fields.preprocessing !== undefined) {
    throw invalid('input_range', 'nothing beside preprocessing, which has a range of its own', range);
  }
  if (range !== undefined && !isRange(range)) throw invalid('input_range', '[low, high], low below high', range);
  if (shape !== undefined && !isShape(shape)) throw invalid('input_shape', '[height, width, channels]', shape);
  if (labels !== undefined && !areLabels(labels)) {
    throw invalid('labels', `1 to ${MOST_LABELS} texts of at most ${MOST_LABEL_CHARACTERS} characters`, labels);
  }
  if (makeCurrent !== undefined && typeof makeCurrent !== 'boolean') {
    throw invalid('make_current', 'true or false', makeCurrent);
  }
  const names = Object.keys(PREPROCESSINGS) as Preprocessing[];
  const preprocessing = oneOf('preprocessing', fields.preprocessing, names, IMPORT_DEFAULTS.preprocessing);
  const images = fields.calibration_images ?? IMPORT_DEFAULTS.calibration_images;
  if (!Number.isInteger(images) || Number(images) < 1 || Number(images) > MOST_CALIBRATION_IMAGES) {
    throw invalid('calibration_images', `a whole number from 1 to ${MOST_CALIBRATION_IMAGES}`, images);
  }
  return {
    model,
    input: range === undefined ? { preprocessing } : { range },
    resize: oneOf('resize', fields.resize, RESIZES, IMPORT_DEFAULTS.resize),
    labels: labels ?? null,
    inputShape: shape ?? null,
    calibrationImages: Number(images),
    makeCurrent: makeCurrent ?? IMPORT_DEFAULTS.make_current,
  };
}

/** One label a line; a byte order mark, carriage returns and empty lines at the end do not count. */
export function parseLabels(text: string, where: string): string[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  while (lines.at(-1)?.trim() === '') lines.pop();
  const labels = lines.map((line) => line.trim());
  if (areLabels(labels)) return labels;
  throw invalid(where, `1 to ${MOST_LABELS} lines of at most ${MOST_LABEL_CHARACTERS} characters`, labels);
}

function oneOf<T extends string>(field: string, value: unknown, names: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  if (!names.includes(value as T)) throw invalid(field, `one of ${names.join(', ')}`, value);
  return value as T;
}

function isRange(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isFiniteNumber) && value[0] < value[1];
}

function isShape(value: unknown): value is [number, number, number] {
  return Array.isArray(value) && value.length === 3 && value.every((n) => Number.isSafeInteger(n) && n >= 1);
}

function areLabels(value: unknown): value is string[] {
  const fits = (label: unknown) => typeof label === 'string' && label !== '' && label.length <= MOST_LABEL_CHARACTERS;
  return Array.isArray(value) && value.length >= 1 && value.length <= MOST_LABELS && value.every(fits);
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= 1e6;
}

export function invalid(field: string, expected: string, value: unknown): ServiceError {
  const text = Array.isArray(value) && value.length > 8 ? `an array of ${value.length}` : JSON.stringify(value);
  const actual = (text ?? String(value)).slice(0, 100);
  return new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
    field,
    expected,
    actual,
  });
}
