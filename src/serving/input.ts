import { endianness } from 'node:os';
import { ServiceError } from '../errors.js';
import { decodeImage } from '../image.js';
import { fillPixels } from '../model/input-spec.js';
import type { InputSpec } from '../model/manifest.js';
import { fillNumbers, kindOf } from './instances.js';
import type { PredictBody } from './request.js';

/** What the engine takes: float32 NHWC in the model's input range, `batch` × height × width × channels long. */
export interface ModelInput {
  input: Float32Array;
  batch: number;
}

export interface InputLimits {
  maxBatch: number;
  /** Pixels of an image file, before it is resized. */
  maxImagePixels: number;
}

/** Images of one request that are decoded at the same time. */
const DECODERS = 4;

/**
 * Turns a body into the model's input. A raw float32 body that is aligned is not copied: the result is a view of it, so
 * the engine must not transfer its buffer.
 * @throws ServiceError empty_body, missing_field, invalid_field, unknown_field, wrong_shape, not_finite, out_of_range,
 *   bad_image, image_too_large, batch_too_large
 */
export async function readInput(body: PredictBody, spec: InputSpec, limits: InputLimits): Promise<ModelInput> {
  if (body.kind === 'instances') return readInstances(body.instances, spec, limits);
  if (body.bytes.length === 0) {
    const expected = body.kind === 'image' ? 'an image file' : 'pixels';
    throw new ServiceError('empty_body', `body: expected ${expected}, got nothing`, { field: 'body', expected });
  }
  if (body.kind === 'raw') return readRaw(body.dtype, body.bytes, spec, limits);
  const input = new Float32Array(instanceSize(spec));
  fillPixels(await decodeImage(body.bytes, spec, limits.maxImagePixels, 'body'), spec, input, 0);
  return { input, batch: 1 };
}

function instanceSize(spec: InputSpec): number {
  return spec.shape[0] * spec.shape[1] * spec.shape[2];
}

async function readInstances(instances: unknown, spec: InputSpec, limits: InputLimits): Promise<ModelInput> {
  const field = 'instances';
  if (instances === undefined) {
    throw new ServiceError('missing_field', `${field}: expected an array of 1 to ${limits.maxBatch}`, { field });
  }
  if (!Array.isArray(instances) || instances.length === 0) {
    const expected = `an array of 1 to ${limits.maxBatch}`;
    const actual = Array.isArray(instances) ? 'an empty array' : kindOf(instances);
    throw new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
      field,
      expected,
      actual,
    });
  }
  const batch = instances.length;
  checkBatch(batch, limits, field);
  const size = instanceSize(spec);
  const input = new Float32Array(batch * size);
  const images: { bytes: Uint8Array; index: number }[] = [];
  for (let i = 0; i < batch; i++) {
    const instance: unknown = instances[i];
    if (Array.isArray(instance)) fillNumbers(instance, spec, input, i * size, `${field}[${i}]`);
    else images.push({ bytes: readBase64(instance, `${field}[${i}]`), index: i });
  }
  const decodeNext = async () => {
    for (let image = images.shift(); image; image = images.shift()) {
      const name = `${field}[${image.index}].b64`;
      try {
        fillPixels(await decodeImage(image.bytes, spec, limits.maxImagePixels, name), spec, input, image.index * size);
      } catch (error) {
        images.length = 0; // the request has failed: decode no more of it
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(DECODERS, images.length) }, decodeNext));
  return { input, batch };
}

/** The file in `{"b64": "…"}`. Standard or URL-safe alphabet, padded or not; nothing else in the string. */
function readBase64(instance: unknown, field: string): Uint8Array {
  if (typeof instance !== 'object' || instance === null) {
    const expected = 'an array of numbers or {"b64"}';
    const actual = kindOf(instance);
    const detail = `${field}: expected ${expected}, got ${actual}`;
    throw new ServiceError('invalid_field', detail, { field, expected, actual });
  }
  const unknown = Object.keys(instance).find((key) => key !== 'b64');
  if (unknown !== undefined) {
    const name = unknown.slice(0, 64);
    const detail = `${field}: expected only "b64", got ${JSON.stringify(name)}`;
    throw new ServiceError('unknown_field', detail, { field: `${field}.${name}`, expected: 'b64' });
  }
  const name = `${field}.b64`;
  const expected = 'base64 of an image file';
  const text = (instance as { b64?: unknown }).b64;
  if (text === undefined) throw new ServiceError('missing_field', `${name}: expected ${expected}`, { field: name });
  const refuse = (actual: string) =>
    new ServiceError('invalid_field', `${name}: expected ${expected}, got ${actual}`, {
      field: name,
      expected,
      actual,
    });
  if (typeof text !== 'string') throw refuse(kindOf(text));
  if (text === '') throw refuse('an empty string');
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const digits = text.length - padding;
  const bytes = Buffer.from(text, 'base64');
  // Node's decoder skips what is not base64, so anything skipped shows in the length.
  const whole = digits % 4 !== 1 && (padding === 0 || text.length % 4 === 0);
  if (!whole || bytes.length !== Math.floor((digits * 3) / 4)) throw refuse('something else');
  return bytes;
}

function readRaw(dtype: 'uint8' | 'float32', bytes: Uint8Array, spec: InputSpec, limits: InputLimits): ModelInput {
  const size = instanceSize(spec);
  const width = dtype === 'uint8' ? 1 : 4;
  const batch = bytes.length / (size * width);
  if (!Number.isInteger(batch)) {
    const expected = `a multiple of ${size * width} bytes`;
    const detail =
      `body: expected ${expected} (${spec.shape.join(' × ')} ${dtype} for each instance), ` + `got ${bytes.length}`;
    const extra = { field: 'body', expected, expected_shape: spec.shape, actual: bytes.length };
    throw new ServiceError('wrong_shape', detail, extra);
  }
  checkBatch(batch, limits, 'body');
  if (dtype === 'float32') {
    const input = viewFloats(bytes);
    checkFloats(input, spec, size);
    return { input, batch };
  }
  const input = new Float32Array(batch * size);
  fillPixels(bytes, spec, input, 0);
  return { input, batch };
}

/** Little-endian float32: a view of the bytes where alignment and this machine's byte order allow it. */
function viewFloats(bytes: Uint8Array): Float32Array {
  const length = bytes.length / 4;
  if (endianness() === 'LE') {
    if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, length);
    const copy = new Float32Array(length);
    new Uint8Array(copy.buffer).set(bytes);
    return copy;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length }, (_, i) => view.getFloat32(i * 4, true));
}

function checkFloats(input: Float32Array, spec: InputSpec, size: number): void {
  const low = Math.fround(spec.range[0]);
  const high = Math.fround(spec.range[1]);
  for (let i = 0; i < input.length; i++) {
    const x = input[i];
    if (x >= low && x <= high) continue;
    const at = { field: 'body', index: i, instance: Math.floor(i / size) };
    if (!Number.isFinite(x)) {
      const detail = `body: number ${i} (of instance ${at.instance}) is ${x}, expected a finite number`;
      throw new ServiceError('not_finite', detail, { ...at, expected: 'a finite number', actual: String(x) });
    }
    const expected = `${spec.range[0]} to ${spec.range[1]}`;
    const detail = `body: number ${i} (of instance ${at.instance}) is ${x}, expected ${expected}`;
    throw new ServiceError('out_of_range', detail, { ...at, expected: spec.range, actual: x });
  }
}

function checkBatch(batch: number, limits: InputLimits, field: string): void {
  if (batch <= limits.maxBatch) return;
  const detail = `${field}: expected at most ${limits.maxBatch} instances, got ${batch}`;
  throw new ServiceError('batch_too_large', detail, { field, expected: limits.maxBatch, actual: batch });
}
