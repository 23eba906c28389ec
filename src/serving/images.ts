/** Image files inside a request: base64, and decoding several at a time. */
import { ServiceError } from '../errors.js';
import { decodeImage } from '../image.js';
import { fillPixels } from '../model/input-spec.js';
import type { InputSpec } from '../model/manifest.js';
import { kindOf } from './instances.js';
import type { Reading } from './model-input.js';

/** An image file, and the place of its pixels in the batch. */
export interface ImageFile {
  bytes: Uint8Array;
  index: number;
  /** What errors call it. */
  field: string;
}

/** Images of one request that are decoded at the same time. */
const DECODERS = 4;

/**
 * Decodes each file into its place of `target`.
 * @param size numbers of one instance
 * @throws ServiceError bad_image, image_too_large, and what `reading` throws
 */
export async function fillImages(
  files: ImageFile[],
  spec: InputSpec,
  target: Float32Array,
  size: number,
  maxPixels: number,
  reading: Reading | undefined,
): Promise<void> {
  reading?.counted(target.length / size);
  const left = [...files];
  const decodeNext = async () => {
    for (let file = left.shift(); file; file = left.shift()) {
      try {
        reading?.check();
        fillPixels(await decodeImage(file.bytes, spec, maxPixels, file.field), spec, target, file.index * size);
      } catch (error) {
        left.length = 0; // the request has failed: decode no more of it
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(DECODERS, files.length) }, decodeNext));
}

/**
 * The bytes of an image file. Standard or URL-safe alphabet, padded or not; nothing else in the string.
 * @throws ServiceError missing_field, invalid_field
 */
export function readBase64(text: unknown, field: string): Uint8Array {
  const expected = 'base64 of an image file';
  if (text === undefined) throw new ServiceError('missing_field', `${field}: expected ${expected}`, { field });
  const refuse = (actual: string) =>
    new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
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
