/** Decodes the files of an image folder once, by the decoder of requests, into one file of pixels. */
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeImage } from '../../image.js';
import type { InputSpec } from '../../model/manifest.js';
import { TrainingCancelled } from '../request.js';
import type { DatasetCache } from './cache.js';
import type { OpenOptions, Skipped } from './dataset.js';
import { badDataset, NAMED } from './faults.js';
import type { ImageFile } from './image-listing.js';

export interface Decoding extends Pick<OpenOptions, 'onProgress' | 'isCancelled'> {
  /** Folder that the files' names are relative to. */
  root: string;
  spec: Pick<InputSpec, 'shape' | 'resize'>;
  maxImagePixels: number;
  maxBytes: number;
  /** Share of the files that may be unreadable. */
  badShare: number;
}

export interface Decoded {
  /** File with `size` bytes for each image, in the order of the files; those of a bad file mean nothing. */
  path: string;
  size: number;
  /** Indices of the files that cannot be read, and why, in order. */
  bad: [index: number, reason: string][];
}

/** Images that are decoded at the same time: half of Node's pool of threads, so that predictions always find one. */
const DECODERS = 2;
/** No image of MAX_IMAGE_PIXELS needs more. */
const LARGEST_FILE = 256 * 1024 * 1024;
const PIXELS_FILE = 'pixels.bin';
const BAD_FILE = 'bad.json';
/** Of the decoder: another number makes what was decoded before stale. */
const VERSION = 1;

/**
 * All files are looked at before the first step, so that which are bad, and so what is trained on, is known then and the
 * same at every training; later epochs and trainings only read pixels.
 * @throws ServiceError `bad_dataset` where too many files are bad, or the pixels would take too much room;
 *   TrainingCancelled
 */
export async function decodeAll(
  files: readonly ImageFile[],
  cache: DatasetCache,
  decoding: Decoding,
): Promise<Decoded> {
  const { spec, maxImagePixels, maxBytes, badShare } = decoding;
  const size = spec.shape.reduce((a, b) => a * b, 1);
  if (files.length * size > maxBytes) {
    const found = `${files.length} images of ${spec.shape.join('×')}, ${files.length * size} bytes`;
    throw badDataset('folder', `at most ${maxBytes} bytes of pixels (MAX_DATASET_BYTES)`, found);
  }
  const content = files.map(({ name, size, mtimeMs }) => [name, size, mtimeMs]);
  const form = { ...spec, maxImagePixels, version: VERSION };
  const folder = await cache.folder(content, form, (made) => build(files, made, size, decoding));
  const bad = JSON.parse(await readFile(join(folder, BAD_FILE), 'utf8')) as Decoded['bad'];
  refuseMany(bad, files, badShare);
  return { path: join(folder, PIXELS_FILE), size, bad };
}

async function build(files: readonly ImageFile[], folder: string, size: number, decoding: Decoding): Promise<void> {
  const { badShare, onProgress, isCancelled } = decoding;
  const bad: Decoded['bad'] = [];
  const pixels = await open(join(folder, PIXELS_FILE), 'wx');
  let next = 0;
  let done = 0;
  const decodeNext = async (): Promise<void> => {
    while (next < files.length) {
      if (isCancelled?.()) throw new TrainingCancelled();
      const index = next++;
      const reason = await decodeInto(pixels, index * size, files[index], decoding);
      if (reason !== null) bad.push([index, reason]);
      onProgress?.(++done, files.length);
      refuseMany(bad, files, badShare);
    }
  };
  try {
    // All have ended before the file is closed, also when one has failed.
    const ends = await Promise.allSettled(
      Array.from({ length: DECODERS }, () =>
        decodeNext().catch((error: unknown) => {
          next = files.length;
          throw error;
        }),
      ),
    );
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    await pixels.truncate(files.length * size);
  } finally {
    await pixels.close();
  }
  bad.sort(([a], [b]) => a - b);
  await writeFile(join(folder, BAD_FILE), JSON.stringify(bad));
}

/** What is wrong with the file; null where nothing is. */
async function decodeInto(
  to: FileHandle,
  position: number,
  file: ImageFile,
  { root, spec, maxImagePixels }: Decoding,
): Promise<string | null> {
  if (file.size > LARGEST_FILE) return `${file.size} bytes`;
  let image: Uint8Array;
  try {
    image = await decodeImage(await readFile(join(root, file.name)), spec, maxImagePixels, '');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // An error of the file system names the machine's paths, that of the decoder begins with the field's name, which is empty.
    return code?.startsWith('E') ? code : message.replace(/^: /, '');
  }
  await to.write(image, 0, image.length, position);
  return null;
}

function refuseMany(bad: Decoded['bad'], files: readonly ImageFile[], share: number): void {
  if (bad.length <= Math.floor(files.length * share)) return;
  const { files: named } = skippedOf(bad, files);
  const wanted = `at most ${Math.floor(files.length * share)} of ${files.length} files to be unreadable (bad_file_share)`;
  throw badDataset('folder', wanted, `${bad.length} or more: ${named.join('; ')}`);
}

/** What a record says of the bad files. */
export function skippedOf(bad: Decoded['bad'], files: readonly ImageFile[]): Skipped {
  const first = [...bad].sort(([a], [b]) => a - b).slice(0, NAMED);
  const named = first.map(([index, reason]) => `${files[index].name}: ${reason}`);
  return { count: bad.length, of: files.length, files: named };
}
