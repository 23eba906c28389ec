import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CalibrationBatch } from '../engine/calibration.js';
import { ServiceError } from '../errors.js';
import { decodeImage } from '../image.js';
import { fillPixels } from '../model/input-spec.js';
import type { InputSpec } from '../model/manifest.js';
import { invalid } from './request.js';

export interface CalibrationImages {
  batches: CalibrationBatch[];
  images: number;
  /** Files that were looked at and are no images. */
  skipped: number;
}

const MAX_DEPTH = 8;
const MAX_FILES = 1_000_000;
const LARGEST_FILE = 256 * 1024 * 1024;
/** Bytes of all images together, as the model takes them. */
const LARGEST_SET = 512 * 1024 * 1024;

/**
 * Images of a folder and its sub-folders, as the model takes them: at most `most`, taken evenly from the list of names in
 * order, so that the same folder gives the same ones. Links are not followed; files that are no images are passed over.
 * @throws ServiceError invalid_field where there is no folder or no image in it, or far more else than images
 */
export async function calibrationImages(
  folder: string,
  spec: InputSpec,
  most: number,
  maxPixels: number,
): Promise<CalibrationImages> {
  const field = 'calibration';
  const found = await stat(folder).catch(() => null);
  if (!found?.isDirectory()) throw invalid(field, 'a folder of images', found ? 'a file' : 'nothing there');
  const size = spec.shape[0] * spec.shape[1] * spec.shape[2];
  const wanted = Math.max(1, Math.min(most, Math.floor(LARGEST_SET / (4 * size))));
  const files = await list(folder, MAX_DEPTH);
  const batches: CalibrationBatch[] = [];
  let skipped = 0;
  const mostSkipped = 10 * wanted + 100;
  // A first round of evenly spaced files, and where some of them are no images the ones after them.
  const step = Math.max(1, Math.floor(files.length / wanted));
  for (let shift = 0; shift < step && batches.length < wanted; shift++) {
    for (let i = shift; i < files.length && batches.length < wanted; i += step) {
      const input = await read(files[i], spec, size, maxPixels);
      if (input === null && ++skipped > mostSkipped)
        throw invalid(field, 'a folder of images', `${skipped} other files`);
      if (input !== null) batches.push({ input, batch: 1 });
    }
  }
  if (batches.length === 0) throw invalid(field, 'a folder of images', `${files.length} files and no image`);
  return { batches, images: batches.length, skipped };
}

async function read(path: string, spec: InputSpec, size: number, maxPixels: number): Promise<Float32Array | null> {
  try {
    if ((await stat(path)).size > LARGEST_FILE) return null;
    const pixels = await decodeImage(await readFile(path), spec, maxPixels, 'image');
    const input = new Float32Array(size);
    fillPixels(pixels, spec, input, 0);
    return input;
  } catch (error) {
    if (error instanceof ServiceError && (error.code === 'bad_image' || error.code === 'image_too_large')) return null;
    // Gone or unreadable; the decoder's errors are all of the kind above.
    if ((error as NodeJS.ErrnoException).syscall !== undefined) return null;
    throw error;
  }
}

async function list(folder: string, depth: number, files: string[] = []): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    throw invalid('calibration', 'folders that can be read', error.code);
  });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && depth > 0) await list(path, depth - 1, files);
    else if (entry.isFile() && !entry.name.startsWith('.')) files.push(path);
    if (files.length > MAX_FILES) throw invalid('calibration', `at most ${MAX_FILES} files`, 'more');
  }
  return files;
}
