/** Images as fixed-size records in files, read one at a time by position, so that memory is a batch's and not the set's. */
import { closeSync, openSync, readSync } from 'node:fs';
import { pixelFiller } from '../../model/input-spec.js';
import type { InputSpec } from '../../model/manifest.js';
import type { LabelledSplit } from './dataset.js';
import { badDataset } from './faults.js';

/** Images of bytes, by number from 0. */
export interface ImageSource {
  /** Bytes of one image, HWC. */
  readonly size: number;
  /** Puts an image at the beginning of `target`. */
  read(index: number, target: Uint8Array): void;
  close(): void;
}

/** A run of images in one file. */
export interface RecordFile {
  path: string;
  /** As an error names it. */
  name: string;
  /** Bytes before the pixels of the first image, and from one image's to the next's. */
  offset: number;
  stride: number;
  count: number;
}

/** A part of a data set, in files of images and their classes in memory: a byte each. */
export interface BytePart {
  shape: [number, number, number];
  files: RecordFile[];
  labels: Uint8Array;
  /** The file that they come from, as an error names it. */
  labelFile: string;
}

/** Of a part: what a byte and four more an example, and one pass over them all, can be without being felt. */
export const MOST_EXAMPLES = 2_000_000;

/** @param where file or folder that so many examples are in */
export function checkCount(where: string, count: number): void {
  if (count > MOST_EXAMPLES) throw badDataset(where, `at most ${MOST_EXAMPLES} examples`, `${count}`);
}

export interface RecordLayout {
  /** Bytes of one image. */
  size: number;
  /** Channels, where a record holds one channel after the other; absent where it holds them pixel by pixel. */
  planes?: number;
}

/**
 * Opens the files, whose images are numbered through. Reading is synchronous: a read of some kilobytes that the system
 * has in memory takes two microseconds so, and many times that through the thread pool; training has a thread of its own.
 */
export function openRecords(files: readonly RecordFile[], { size, planes }: RecordLayout): ImageSource {
  const opened: (RecordFile & { first: number; fd: number })[] = [];
  const close = () => {
    for (const { fd } of opened.splice(0)) closeSync(fd);
  };
  try {
    let first = 0;
    for (const file of files) {
      opened.push({ ...file, first, fd: openSync(file.path, 'r') });
      first += file.count;
    }
  } catch (error) {
    close();
    throw error;
  }
  const scratch = new Uint8Array(planes === undefined ? 0 : size);
  return {
    size,
    close,
    read(index, target) {
      const file = opened.findLast(({ first }) => first <= index);
      if (file === undefined || index >= file.first + file.count) throw new RangeError(`no image ${index}`);
      const bytes = planes === undefined ? target.subarray(0, size) : scratch;
      readWhole(file, bytes, file.offset + (index - file.first) * file.stride);
      if (planes !== undefined) interleave(bytes, target, planes);
    },
  };
}

function readWhole({ fd, name }: { fd: number; name: string }, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const read = readSync(fd, bytes, done, bytes.length - done, position + done);
    if (read === 0) throw new Error(`${name}: expected ${bytes.length} bytes at ${position}, got ${done}`);
    done += read;
  }
}

/** From one channel after the other to pixels with their channels. */
function interleave(from: Uint8Array, to: Uint8Array, channels: number): void {
  const pixels = from.length / channels;
  for (let c = 0, i = 0; c < channels; c++) {
    for (let p = 0; p < pixels; p++) to[p * channels + c] = from[i++];
  }
}

/**
 * Some of a source's images, in an order.
 * @param labels class of every image of the source
 * @param spec how bytes become what the net takes
 */
export function splitOf(
  source: ImageSource,
  labels: ArrayLike<number>,
  order: Uint32Array,
  spec: InputSpec,
): LabelledSplit {
  const { size } = source;
  const fill = pixelFiller(spec);
  const bytes = new Uint8Array(size);
  const at = (index: number) => {
    const image = order[index];
    if (image === undefined) throw new RangeError(`example ${index}: expected 0 to ${order.length - 1}`);
    return image;
  };
  return {
    size: order.length,
    labelOf: (index) => labels[at(index)],
    async batch(indices) {
      const input = new Float32Array(indices.length * size);
      const classes = new Int32Array(indices.length);
      for (let i = 0; i < indices.length; i++) {
        const image = at(indices[i]);
        classes[i] = labels[image];
        source.read(image, bytes);
        fill(bytes, input, i * size);
      }
      return { input, labels: classes };
    },
  };
}
