import { ServiceError } from '../errors.js';
import { decodeImage } from '../image.js';
import { fillPixels } from '../model/input-spec.js';
import type { InputSpec } from '../model/manifest.js';
import { fillImages, type ImageFile, readBase64 } from './images.js';
import { fillNumbers, kindOf } from './instances.js';
import {
  checkBatch,
  type InputLimits,
  instanceSize,
  type ModelInput,
  type Reading,
  readFloats,
} from './model-input.js';
import type { PredictBody } from './request.js';
import { readTensor } from './tensor.js';

/**
 * Turns a body into the model's input. A raw float32 body that is aligned is not copied: the result is a view of it, so
 * the engine must not transfer its buffer.
 * @throws ServiceError empty_body, missing_field, invalid_field, unknown_field, wrong_shape, not_finite, out_of_range,
 *   bad_image, image_too_large, batch_too_large
 */
export async function readInput(
  body: PredictBody,
  spec: InputSpec,
  limits: InputLimits,
  reading?: Reading,
): Promise<ModelInput> {
  if (body.kind === 'instances') return readInstances(body.instances, body.field ?? 'instances', spec, limits, reading);
  if (body.kind === 'tensor') return readTensor(body, spec, limits, reading);
  if (body.bytes.length === 0) {
    const expected = body.kind === 'image' ? 'an image file' : 'pixels';
    throw new ServiceError('empty_body', `body: expected ${expected}, got nothing`, { field: 'body', expected });
  }
  if (body.kind === 'raw') return readRaw(body.dtype, body.bytes, spec, limits);
  const input = new Float32Array(instanceSize(spec));
  fillPixels(await decodeImage(body.bytes, spec, limits.maxImagePixels, 'body'), spec, input, 0);
  return { input, batch: 1 };
}

async function readInstances(
  instances: unknown,
  field: string,
  spec: InputSpec,
  limits: InputLimits,
  reading: Reading | undefined,
): Promise<ModelInput> {
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
  const files: ImageFile[] = [];
  for (let i = 0; i < batch; i++) {
    const instance: unknown = instances[i];
    if (Array.isArray(instance)) fillNumbers(instance, spec, input, i * size, `${field}[${i}]`);
    else files.push({ bytes: readFile(instance, `${field}[${i}]`), index: i, field: `${field}[${i}].b64` });
  }
  if (files.length > 0) await fillImages(files, spec, input, size, limits.maxImagePixels, reading);
  return { input, batch };
}

/** The file in `{"b64": "…"}`. */
function readFile(instance: unknown, field: string): Uint8Array {
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
  return readBase64((instance as { b64?: unknown }).b64, `${field}.b64`);
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
    return { input: readFloats(bytes, spec, size, 'body'), batch };
  }
  const input = new Float32Array(batch * size);
  fillPixels(bytes, spec, input, 0);
  return { input, batch };
}
