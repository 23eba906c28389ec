/** `dataset.json`: what the owner of a data set says of it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../../errors.js';
import type { InputSpec } from '../../model/manifest.js';
import { CLASS_WEIGHTS_RULE, type ClassWeights, isClassWeights } from './class-weights.js';
import type { Augmentation } from './dataset.js';
import { badDataset, fileFault } from './faults.js';

export interface DatasetSettings {
  /** Side of the images, or [height, width]; of image folders. */
  image_size?: number | [number, number];
  /** 1 is grey, 3 is RGB; of image folders. */
  channels?: 1 | 3;
  resize?: InputSpec['resize'];
  range?: [number, number];
  augmentation?: Partial<Augmentation>;
  /** Names in the order of the logits: of class numbers, or of an image folder's sub-folders. */
  labels?: string[];
  class_weights?: ClassWeights;
  /** Share of an image folder's files that may be unreadable. */
  bad_file_share?: number;
  /** Share of each class that becomes the test part of an image folder that has none. */
  test_share?: number;
  validation_share?: number;
}

export const SETTINGS_FILE = 'dataset.json';
export const SIDES = { min: 4, max: 1024 };
export const LARGEST_SHIFT = 512;
export const SHARES = { min: 0.001, max: 0.5 };
const LARGEST_FILE = 4 * 1024 * 1024;

type Rule = [holds: (value: unknown) => boolean, expected: string];

const side = (v: unknown) => Number.isInteger(v) && Number(v) >= SIDES.min && Number(v) <= SIDES.max;
const share: Rule = [
  (v) => typeof v === 'number' && v >= SHARES.min && v <= SHARES.max,
  `a number from ${SHARES.min} to ${SHARES.max}`,
];
const pair = (v: unknown): v is unknown[] => Array.isArray(v) && v.length === 2;

const RULES: Record<keyof DatasetSettings, Rule> = {
  image_size: [
    (v) => side(v) || (pair(v) && v.every(side)),
    `a whole number from ${SIDES.min} to ${SIDES.max}, or two of them`,
  ],
  channels: [(v) => v === 1 || v === 3, '1 or 3'],
  resize: [(v) => v === 'fill' || v === 'cover' || v === 'contain', 'one of fill, cover, contain'],
  range: [(v) => pair(v) && v.every(Number.isFinite) && Number(v[0]) < Number(v[1]), '[low, high], low below high'],
  augmentation: [isAugmentation, `{"shift": 0 to ${LARGEST_SHIFT}, "flip": true or false}`],
  labels: [
    (v) => Array.isArray(v) && v.length >= 2 && v.every((l) => typeof l === 'string' && l !== '' && l.length <= 255),
    'an array of two strings or more',
  ],
  class_weights: [isClassWeights, CLASS_WEIGHTS_RULE],
  bad_file_share: [(v) => typeof v === 'number' && v >= 0 && v < 1, 'a number from 0 and below 1'],
  test_share: share,
  validation_share: share,
};

/** @throws ServiceError `bad_dataset` that names the field */
export async function readSettings(folder: string): Promise<DatasetSettings> {
  let text: string;
  try {
    const path = join(folder, SETTINGS_FILE);
    const found = await stat(path);
    if (!found.isFile()) throw badDataset(SETTINGS_FILE, 'a file', found.isDirectory() ? 'a folder' : 'no file');
    if (found.size > LARGEST_FILE) throw badDataset(SETTINGS_FILE, `at most ${LARGEST_FILE} bytes`, `${found.size}`);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw fileFault(SETTINGS_FILE, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badDataset(SETTINGS_FILE, 'JSON', (error as Error).message.slice(0, 120));
  }
  return checkSettings(value);
}

export function checkSettings(value: unknown): DatasetSettings {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badDataset(SETTINGS_FILE, 'an object', shown(value));
  }
  for (const [name, field] of Object.entries(value)) {
    if (!Object.hasOwn(RULES, name)) {
      throw badDataset(SETTINGS_FILE, `only ${Object.keys(RULES).join(', ')}`, shown(name));
    }
    const [holds, expected] = RULES[name as keyof DatasetSettings];
    if (!holds(field)) throw badDataset(`${SETTINGS_FILE}: ${name}`, expected, shown(field));
  }
  const settings = value as DatasetSettings;
  const { labels } = settings;
  if (labels && new Set(labels).size < labels.length) {
    throw badDataset(`${SETTINGS_FILE}: labels`, 'each label once', 'one twice');
  }
  return settings;
}

function isAugmentation(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([name, v]) => {
    if (name === 'flip') return typeof v === 'boolean';
    return name === 'shift' && Number.isInteger(v) && Number(v) >= 0 && Number(v) <= LARGEST_SHIFT;
  });
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
