import { ServiceError } from '../errors.js';
import type { InputSpec } from '../model/manifest.js';

/** Levels of nesting that an error describes; deeper ones are not looked at. */
const SHOWN_DEPTH = 8;

/**
 * Writes one instance given as numbers: nested as [h, w, c], as [h, w] where there is one channel, or flat. One pass,
 * no recursion: a body's depth costs nothing here.
 * @param field what errors name, `instances[2]`; they add the index of the row or number
 * @throws ServiceError wrong_shape (expected and actual shape), invalid_field, not_finite, out_of_range
 */
export function fillNumbers(
  instance: unknown[],
  spec: InputSpec,
  target: Float32Array,
  offset: number,
  field: string,
): void {
  const [height, width, channels] = spec.shape;
  const shape = shapeOf(instance);
  const matches =
    shape.length === 3
      ? shape[0] === height && shape[1] === width && shape[2] === channels
      : shape.length === 2
        ? channels === 1 && shape[0] === height && shape[1] === width
        : shape.length === 1 && shape[0] === height * width * channels;
  if (!matches) throw wrongShape(field, spec.shape, shape, forms(spec));
  if (shape.length === 1) {
    fillRow(instance, spec, target, offset, field);
    return;
  }
  for (let y = 0; y < height; y++) {
    const row = rowOf(instance[y], shape.slice(1), `${field}[${y}]`);
    if (shape.length === 2) {
      fillRow(row, spec, target, offset + y * width, `${field}[${y}]`);
      continue;
    }
    for (let x = 0; x < width; x++) {
      const cell = row[x];
      // The name of a cell is only made where something is wrong with it: there are many cells.
      if (!Array.isArray(cell) || cell.length !== channels) rowOf(cell, [channels], `${field}[${y}][${x}]`);
      fillRow(cell as unknown[], spec, target, offset + (y * width + x) * channels, field, y, x);
    }
  }
}

/** What a JSON value is, in an error's words. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Lengths along the first element of each level. */
function shapeOf(value: unknown): number[] {
  const shape: number[] = [];
  for (let level = value; Array.isArray(level) && shape.length < SHOWN_DEPTH; level = level[0]) {
    shape.push(level.length);
  }
  return shape;
}

function forms(spec: InputSpec): string {
  const [height, width, channels] = spec.shape;
  const plane = channels === 1 ? `, [${height},${width}]` : '';
  return `[${spec.shape.join(',')}]${plane} or ${height * width * channels} numbers`;
}

function rowOf(value: unknown, expected: number[], field: string): unknown[] {
  if (!Array.isArray(value)) {
    const wanted = `an array of shape [${expected.join(',')}]`;
    const actual = kindOf(value);
    const detail = `${field}: expected ${wanted}, got ${actual}`;
    throw new ServiceError('invalid_field', detail, { field, expected: wanted, actual });
  }
  if (value.length !== expected[0]) throw wrongShape(field, expected, shapeOf(value), `[${expected.join(',')}]`);
  return value;
}

function wrongShape(field: string, expected: number[], actual: number[], forms: string): ServiceError {
  const detail = `${field}: expected ${forms}, got shape [${actual.join(',')}]`;
  return new ServiceError('wrong_shape', detail, { field, expected, actual });
}

function fillRow(
  row: unknown[],
  spec: InputSpec,
  target: Float32Array,
  offset: number,
  field: string,
  y = -1,
  x = -1,
): void {
  // Compared as the float32 that the model gets, so that 0.1 is within [0, 0.1].
  const low = Math.fround(spec.range[0]);
  const high = Math.fround(spec.range[1]);
  for (let i = 0; i < row.length; i++) {
    const value = row[i];
    if (typeof value === 'number') {
      const rounded = Math.fround(value);
      if (rounded >= low && rounded <= high) {
        target[offset + i] = rounded;
        continue;
      }
    }
    throw wrongNumber(value, spec, y < 0 ? `${field}[${i}]` : `${field}[${y}][${x}][${i}]`);
  }
}

function wrongNumber(value: unknown, spec: InputSpec, field: string): ServiceError {
  const expected = `a number from ${spec.range[0]} to ${spec.range[1]}`;
  const actual = typeof value === 'number' ? String(value) : kindOf(value);
  const code = typeof value !== 'number' ? 'invalid_field' : Number.isFinite(value) ? 'out_of_range' : 'not_finite';
  return new ServiceError(code, `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}
