import sharp from 'sharp';
import { ServiceError } from './errors.js';
import type { InputSpec } from './model/manifest.js';

/** Only formats of pixels: no SVG, no documents, nothing that could name another file. */
const LOADERS = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Tiff', 'Heif'];
const FORMATS = 'JPEG, PNG, WebP, GIF, TIFF or AVIF';
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: LOADERS.map((name) => `VipsForeignLoad${name}`) });
// Requests never repeat an operation on the same buffer: a cache would only hold their pixels.
sharp.cache(false);

/** Seconds that decoding one image may take. */
const TIMEOUT_S = 10;

/**
 * Decodes one image file to 8-bit pixels, HWC, of the size and channels that the model takes. The first frame of an
 * animation; rotated as its EXIF says; alpha over black; 1 channel is grey, 3 is sRGB; any depth or CMYK comes as
 * 8-bit. A truncated or damaged file is refused rather than filled up.
 * @param field what the error names: `body`, `instances[2].b64`
 * @throws ServiceError bad_image, image_too_large
 */
export async function decodeImage(
  bytes: Uint8Array,
  spec: Pick<InputSpec, 'shape' | 'resize'>,
  maxPixels: number,
  field: string,
): Promise<Uint8Array> {
  const [height, width, channels] = spec.shape;
  if (channels !== 1 && channels !== 3) {
    const detail = `${field}: the model takes ${channels} channels, which no image gives; send numbers`;
    throw new ServiceError('bad_image', detail, { field, expected: 'numbers', actual: 'an image' });
  }
  try {
    return await sharp(bytes, { failOn: 'error', limitInputPixels: maxPixels, pages: 1, autoOrient: true })
      .flatten({ background: '#000000' })
      .resize(width, height, { fit: spec.resize, background: '#000000' })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .timeout({ seconds: TIMEOUT_S })
      .toBuffer();
  } catch (error) {
    throw refusal(error, maxPixels, field);
  }
}

function refusal(error: unknown, maxPixels: number, field: string): ServiceError {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0].slice(0, 160);
  if (/exceeds pixel limit/i.test(reason)) {
    const detail = `${field}: expected at most ${maxPixels} pixels, the image has more`;
    return new ServiceError('image_too_large', detail, { field, expected: maxPixels });
  }
  const detail = `${field}: expected a whole ${FORMATS} image; the decoder says: ${reason}`;
  return new ServiceError('bad_image', detail, { field, expected: FORMATS, actual: reason });
}
