/** What bodies become, and what every kind of body is checked for. */
import { endianness } from 'node:os';
import { ServiceError } from '../errors.js';
import type { InputSpec } from '../model/manifest.js';

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

/** Who reads image files, which takes long, tells how many there are before, and asks between them whether to go on. */
export interface Reading {
  /** @throws ServiceError where there is no room for so many */
  counted(instances: number): void;
  /** @throws ServiceError where nobody waits any longer */
  check(): void;
}

/** Numbers of one instance. */
export function instanceSize(spec: InputSpec): number {
  return spec.shape[0] * spec.shape[1] * spec.shape[2];
}

/**
 * Little-endian float32, checked against the input range; a view of the bytes where that can be.
 * @param size numbers of one instance
 * @throws ServiceError not_finite, out_of_range
 */
export function readFloats(bytes: Uint8Array, spec: InputSpec, size: number, field: string): Float32Array {
  const input = viewFloats(bytes);
  checkFloats(input, spec, size, field);
  return input;
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

function checkFloats(input: Float32Array, spec: InputSpec, size: number, field: string): void {
  const low = Math.fround(spec.range[0]);
  const high = Math.fround(spec.range[1]);
  for (let i = 0; i < input.length; i++) {
    const x = input[i];
    if (x >= low && x <= high) continue;
    const at = { field, index: i, instance: Math.floor(i / size) };
    if (!Number.isFinite(x)) {
      const detail = `${field}: number ${i} (of instance ${at.instance}) is ${x}, expected a finite number`;
      throw new ServiceError('not_finite', detail, { ...at, expected: 'a finite number', actual: String(x) });
    }
    const expected = `${spec.range[0]} to ${spec.range[1]}`;
    const detail = `${field}: number ${i} (of instance ${at.instance}) is ${x}, expected ${expected}`;
    throw new ServiceError('out_of_range', detail, { ...at, expected: spec.range, actual: x });
  }
}

/** @throws ServiceError batch_too_large */
export function checkBatch(batch: number, limits: InputLimits, field: string): void {
  if (batch <= limits.maxBatch) return;
  const detail = `${field}: expected at most ${limits.maxBatch} instances, got ${batch}`;
  throw new ServiceError('batch_too_large', detail, { field, expected: limits.maxBatch, actual: batch });
}
