import { Fields, listOf } from './fields.js';

/** Checks of a manifest's parts; each throws ServiceError `bad_model` with the path of the field. */

const WIDTH = '(?:[2-8]|16|32)';
export const PRECISION_KEY = new RegExp(`^${WIDTH}x${WIDTH}$`);
export const DIGEST = /^[0-9a-f]{64}$/;
/** One path segment without dots in a row, so a name never leaves the folder of models. */
export const MODEL_NAME = /^(?!.*\.\.)[a-z0-9][a-z0-9._-]{0,63}$/;

export function matching(fields: Fields, name: string, pattern: RegExp, expected: string): string {
  const value = fields.get(name);
  if (typeof value !== 'string' || !pattern.test(value)) throw fields.error(name, expected);
  return value;
}

/** Calls `check` with every key of the object, and the fields it is a field of. */
function each(fields: Fields, name: string, check: (entries: Fields, key: string) => void): void {
  const entries = fields.fields(name);
  for (const key of entries.names()) check(entries, key);
}

function keyed(entries: Fields, key: string): void {
  if (!PRECISION_KEY.test(key)) throw entries.error(key, 'a key WxA such as 4x8');
}

/** [low, high]; `open` asks for low < high. */
function interval(fields: Fields, name: string, open: boolean): [number, number] {
  const found = asInterval(fields.get(name), open);
  if (found === undefined) throw fields.error(name, open ? '[low, high], low below high' : '[low, high]');
  return found;
}

function asInterval(value: unknown, open: boolean): [number, number] | undefined {
  const list = listOf(value) ?? [];
  const [low, high] = list as number[];
  if (list.length !== 2 || !list.every(Number.isFinite) || low > high || (open && low === high)) return undefined;
  return [low, high];
}

function checkChannels(input: Fields, channels: number, [low, high]: [number, number]): void {
  const ranges = input.list('channel_ranges').map((value) => asInterval(value, true));
  const fits = ranges.every((range) => range !== undefined && range[0] >= low && range[1] <= high);
  if (ranges.length !== channels || !fits) {
    throw input.error('channel_ranges', `${channels} times [low, high] within [${low}, ${high}]`);
  }
}

export function checkInputSpec(input: Fields): void {
  const shape = input.list('shape');
  const sizes = shape.length === 3 && shape.every((n) => Number.isSafeInteger(n) && (n as number) > 0);
  if (!sizes) throw input.error('shape', '[height, width, channels]');
  const range = interval(input, 'range', true);
  if (input.get('channel_ranges') !== undefined) checkChannels(input, shape[2] as number, range);
  if (input.get('channel_order') !== undefined) input.choice('channel_order', ['bgr']);
  input.choice('resize', ['fill', 'cover', 'contain']);
}

export function checkLabels(manifest: Fields): void {
  const labels = manifest.list('labels');
  if (labels.length === 0 || !labels.every((label) => typeof label === 'string')) {
    throw manifest.error('labels', 'a string for each class');
  }
}

export function checkRanges(manifest: Fields): void {
  each(manifest, 'ranges', (ranges, tensor) => {
    const range = ranges.fields(tensor);
    const min = range.number('min');
    range.number('max', { min });
    each(range, 'clip', (clip, bits) => {
      if (!/^[2-8]$/.test(bits)) throw clip.error(bits, 'a key from 2 to 8');
      interval(clip, bits, false);
    });
  });
}

export function checkQuantizer(quantizer: Fields): void {
  each(quantizer, 'clip_rules', (rules, key) => {
    keyed(rules, key);
    rules.choice(key, ['min-max', 'squared-error', 'p-2.4']);
  });
  if (quantizer.get('chosen_on') !== undefined) {
    const record = quantizer.fields('chosen_on');
    record.string('dataset');
    record.integer('images', { min: 0 });
    for (const name of ['command', 'from']) if (record.get(name) !== undefined) record.string(name);
  }
  if (quantizer.get('range_factors') !== undefined) {
    each(quantizer, 'range_factors', (factors, key) => {
      keyed(factors, key);
      factors.number(key, { min: 0.01, max: 100 });
    });
  }
  each(quantizer, 'minimum_bits', (layers, name) => {
    for (const what of ['weights', 'activations']) layers.fields(name).integer(what, { min: 2, max: 32 });
  });
}

/** The blocks lie one after the other, in whatever order, and each precision has one. */
export function checkBiasCorrections(index: Fields): void {
  const names = new Set<string>();
  let channels = 0;
  for (const layer of index.list('layers')) {
    const fields = new Fields(layer, `${index.where}: layers`);
    const name = fields.string('name');
    if (names.has(name)) throw fields.error('name', 'names that differ');
    names.add(name);
    channels += fields.integer<never>('channels', { min: 1, max: 2 ** 26 });
  }
  if (channels === 0) throw index.error('layers', 'one layer at least');
  const offsets: number[] = [];
  each(index, 'offsets', (entries, key) => {
    if (!/^[2-8]x[2-8]$/.test(key)) throw entries.error(key, 'a key WxA of 2 to 8 bits');
    offsets.push(entries.integer<never>(key));
  });
  if (offsets.length === 0) throw index.error('offsets', 'one precision at least');
  offsets.sort((a, b) => a - b);
  if (!offsets.every((offset, i) => offset === i * 4 * channels)) {
    throw index.error('offsets', `multiples of ${4 * channels} without gaps`);
  }
}

export function checkPrecisions(manifest: Fields): void {
  each(manifest, 'precisions', (table, key) => {
    keyed(table, key);
    const row = table.fields(key);
    for (const count of ['images', 'memory_bytes', 'macs']) row.integer(count, { min: 0 });
    // Without images there is no accuracy; with images there is one.
    const unknown = row.get('images') === 0 && row.get('accuracy') === undefined;
    if (!unknown) row.number('accuracy', { min: 0, max: 1 });
    row.number('energy_uj', { min: 0 });
  });
}

export function checkImport(record: Fields): void {
  if (record.get('generated_by') !== undefined) record.string('generated_by');
  record.choice('ranges', ['data-free', 'calibration']);
  record.integer('calibration_images', { min: 0 });
}

export function checkTraining(training: Fields): void {
  for (const text of ['command', 'architecture', 'dataset', 'backend']) training.string(text);
  for (const count of ['seed', 'examples', 'epochs', 'batch_size']) training.integer(count, { min: 0 });
  for (const number of ['learning_rate', 'duration_s']) training.number(number, { min: 0 });
  if (training.get('validation_share') !== undefined) training.number('validation_share', { min: 0, max: 1 });
  training.fields('regularizer');
  for (const name of ['commit', 'from', 'job']) if (training.get(name) !== undefined) training.string(name);
  for (const epoch of training.list('history')) new Fields(epoch, `${training.where}: history`);
}
