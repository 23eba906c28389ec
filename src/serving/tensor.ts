/** Tensors, as inference protocols send them: a shape and a type that are stated, bytes or JSON values that have to fit. */
import { ServiceError } from '../errors.js';
import { fillPixels } from '../model/input-spec.js';
import type { InputSpec } from '../model/manifest.js';
import { fillImages, type ImageFile, readBase64 } from './images.js';
import { kindOf } from './instances.js';
import {
  checkBatch,
  type InputLimits,
  instanceSize,
  type ModelInput,
  type Reading,
  readFloats,
} from './model-input.js';
import type { TensorBody } from './request.js';

const SHAPE = 'shape';
const DATA = 'data';
/** Bytes of the length before each file. */
const PREFIX = 4;

/**
 * @throws ServiceError wrong_shape, batch_too_large, invalid_field, not_finite, out_of_range, bad_image, image_too_large
 */
export async function readTensor(
  body: TensorBody,
  spec: InputSpec,
  limits: InputLimits,
  reading?: Reading,
): Promise<ModelInput> {
  const { dtype, data } = body;
  const batch = readBatch(body, spec);
  checkBatch(batch, limits, SHAPE);
  const size = instanceSize(spec);
  if (dtype === 'files') {
    const files = 'bytes' in data ? splitFiles(data.bytes, batch) : fileValues(data.values, body.shape);
    const input = new Float32Array(batch * size);
    await fillImages(files, spec, input, size, limits.maxImagePixels, reading);
    return { input, batch };
  }
  if ('values' in data) return { input: readValues(data.values, dtype, batch, spec), batch };
  const { bytes } = data;
  const expected = batch * size * (dtype === 'uint8' ? 1 : 4);
  if (bytes.length !== expected) throw wrongLength(bytes.length, `${expected} bytes for shape [${body.shape}]`);
  if (dtype === 'float32') return { input: readFloats(bytes, spec, size, DATA), batch };
  const input = new Float32Array(batch * size);
  fillPixels(bytes, spec, input, 0);
  return { input, batch };
}

/** Instances, by a shape that has to be the model's. */
function readBatch({ shape, dtype }: TensorBody, spec: InputSpec): number {
  const [batch, ...rest] = shape;
  const fits =
    dtype === 'files'
      ? rest.length === 0 || (rest.length === 1 && rest[0] === 1)
      : rest.length === 3 && rest.every((length, i) => length === spec.shape[i]);
  if (fits && Number.isInteger(batch) && batch >= 1) return batch;
  const expected = dtype === 'files' ? '[n] or [n,1]' : `[n,${spec.shape}]`;
  const detail = `${SHAPE}: expected ${expected} with n of at least 1, got [${shape.slice(0, 8)}]`;
  throw new ServiceError('wrong_shape', detail, { field: SHAPE, expected, actual: [...shape] });
}

/** Files that each have their length before them, in a little-endian uint32. */
function splitFiles(bytes: Uint8Array, count: number): ImageFile[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files: ImageFile[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    const field = `${DATA}[${index}]`;
    const left = bytes.length - at - PREFIX;
    if (left < 0) throw wrongLength(bytes.length, `${count} elements, each with a length of ${PREFIX} bytes before it`);
    const length = view.getUint32(at, true);
    if (length === 0 || length > left) {
      const expected = `a length of 1 to ${left} bytes`;
      const detail = `${field}: expected ${expected}, got ${length}`;
      throw new ServiceError('invalid_field', detail, { field, expected, actual: length });
    }
    at += PREFIX;
    files.push({ bytes: bytes.subarray(at, at + length), index, field });
    at += length;
  }
  if (at < bytes.length) throw wrongLength(bytes.length, `${at} bytes, as the lengths of its ${count} elements say`);
  return files;
}

/** Base64 strings: flat, or one in each row of [n, 1]. */
function fileValues(values: unknown, shape: readonly number[]): ImageFile[] {
  const count = shape[0];
  const list = arrayOf(values, count, DATA);
  return list.map((value, index) => {
    const nested = shape.length === 2 && Array.isArray(value);
    const field = nested ? `${DATA}[${index}][0]` : `${DATA}[${index}]`;
    const text: unknown = nested ? arrayOf(value, 1, `${DATA}[${index}]`)[0] : value;
    return { bytes: readBase64(text, field), index, field };
  });
}

/** JSON numbers, flat or nested as the shape [batch, h, w, c]. */
function readValues(values: unknown, dtype: 'uint8' | 'float32', batch: number, spec: InputSpec): Float32Array {
  const [height, width, channels] = spec.shape;
  const total = batch * height * width * channels;
  const numbers = dtype === 'uint8' ? new Uint8Array(total) : new Float32Array(total);
  const low = dtype === 'uint8' ? 0 : Math.fround(spec.range[0]);
  const high = dtype === 'uint8' ? 255 : Math.fround(spec.range[1]);
  // One row of numbers; its name is only made where something is wrong with it.
  const fillRow = (row: unknown[], offset: number, name: () => string) => {
    for (let i = 0; i < row.length; i++) {
      const value = row[i];
      if (typeof value === 'number') {
        // compared as the float32 that the model gets, so that 0.1 is within [0, 0.1]
        const rounded = dtype === 'uint8' ? value : Math.fround(value);
        if (rounded >= low && rounded <= high && (dtype === 'float32' || Number.isInteger(rounded))) {
          numbers[offset + i] = rounded;
          continue;
        }
      }
      throw wrongNumber(value, dtype, spec, `${name()}[${i}]`);
    }
  };
  if (Array.isArray(values) && !Array.isArray(values[0])) fillRow(arrayOf(values, total, DATA), 0, () => DATA);
  else {
    let offset = 0;
    for (const [n, image] of arrayOf(values, batch, DATA).entries()) {
      for (const [y, line] of arrayOf(image, height, `${DATA}[${n}]`).entries()) {
        const row = arrayOf(line, width, `${DATA}[${n}][${y}]`);
        for (let x = 0; x < width; x++, offset += channels) {
          const name = () => `${DATA}[${n}][${y}][${x}]`;
          const cell = row[x];
          if (!Array.isArray(cell) || cell.length !== channels) arrayOf(cell, channels, name());
          fillRow(cell as unknown[], offset, name);
        }
      }
    }
  }
  if (numbers instanceof Float32Array) return numbers;
  const input = new Float32Array(total);
  fillPixels(numbers, spec, input, 0);
  return input;
}

function arrayOf(value: unknown, length: number, field: string): unknown[] {
  if (Array.isArray(value) && value.length === length) return value;
  const expected = `an array of ${length}`;
  const actual = Array.isArray(value) ? `${value.length}` : kindOf(value);
  const code = Array.isArray(value) ? 'wrong_shape' : 'invalid_field';
  throw new ServiceError(code, `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}

function wrongNumber(value: unknown, dtype: 'uint8' | 'float32', spec: InputSpec, field: string): ServiceError {
  const [low, high] = spec.range;
  const expected = dtype === 'uint8' ? 'a whole number from 0 to 255' : `a number from ${low} to ${high}`;
  const actual = typeof value === 'number' ? String(value) : kindOf(value);
  const code = typeof value !== 'number' ? 'invalid_field' : Number.isFinite(value) ? 'out_of_range' : 'not_finite';
  return new ServiceError(code, `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}

function wrongLength(actual: number, expected: string): ServiceError {
  return new ServiceError('wrong_shape', `${DATA}: expected ${expected}, got ${actual} bytes`, {
    field: DATA,
    expected,
    actual,
  });
}
