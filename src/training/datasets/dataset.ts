import type { InputSpec } from '../../model/manifest.js';
import { Random } from '../random.js';
import type { ClassWeights } from './class-weights.js';

/** Some of a data set's examples, by index from 0. */
export interface Split {
  readonly size: number;
  /** Images as float32 NHWC in the data set's input range, and class indices; asynchronous, so files can be read. */
  batch(indices: ArrayLike<number>): Promise<Examples>;
}

export interface Examples {
  /** batch × height × width × channels */
  input: Float32Array;
  labels: Int32Array;
}

/** How an example may be varied in training without changing its class. */
export interface Augmentation {
  /** Pixels, either way, in either direction: the crop of a padded image. */
  shift: number;
  /** Whether an image and its mirror image (left to right) are of one class. */
  flip: boolean;
}

/** Files of a data set that cannot be read and are left out. */
export interface Skipped {
  count: number;
  /** Files that were looked at. */
  of: number;
  /** The first few, as `class/file: what is wrong`. */
  files: string[];
}

export type DatasetKind = 'idx' | 'cifar-binary' | 'images';

export interface Dataset {
  name: string;
  /** [height, width, channels] */
  inputShape: [number, number, number];
  /** What bytes 0 and 255 become. */
  inputRange: [number, number];
  /** The same by channel, where channels differ. */
  channelRanges?: InputSpec['channel_ranges'];
  labels: string[];
  augmentation: Augmentation;
  /** Digest of what its files hold, as far as names, sizes, times and labels tell; absent where it has no files. */
  content?: string;
  /** How much an example of each class counts in a training's loss; null or absent: all the same. */
  lossWeights?: Float32Array | null;
  train: Split;
  /** Carved from the training examples, the same ones at every training: for choices. */
  validation: Split;
  /** Held out: for reporting only. */
  test: Split;
}

export interface LabelledSplit extends Split {
  /** Class index of an example. */
  labelOf(index: number): number;
}

/** A data set in files, which are open until it is closed. */
export interface OpenDataset extends Dataset {
  kind: DatasetKind;
  /** How its images become what the net takes: what a version that is trained on it says of requests. */
  input: InputSpec;
  /** What the data set itself asks for; a request may say otherwise. */
  classWeights: ClassWeights | null;
  content: string;
  /** Share of the training examples that validation is carved with; null where it has files of its own. */
  validationShare: number | null;
  train: LabelledSplit;
  validation: LabelledSplit;
  test: LabelledSplit;
  skipped: Skipped | null;
  close(): void;
}

/** What a data set becomes of, where more than one thing is possible; all that is left out is the data set's own. */
export interface OpenOptions {
  /** What the net takes, where that is known before: the size of images, the range of bytes. */
  input?: Partial<InputSpec>;
  /** Side of the images, in pixels. */
  imageSize?: number;
  /** The order of the classes, where these are they. */
  labels?: readonly string[];
  /** Share of the training examples that is kept for validation. */
  validationShare?: number;
  /** Pixels of an image file at most. */
  maxImagePixels?: number;
  /** Bytes at most that unpacked or decoded data may take on disk. */
  maxBytes?: number;
  /** @param done files that were looked at, of `total` */
  onProgress?(done: number, total: number): void;
  /** Asked between files; true ends the opening with TrainingCancelled. */
  isCancelled?(): boolean;
}

export const OPEN_DEFAULTS = { maxImagePixels: 50_000_000, maxBytes: 4 * 1024 ** 3 };

/** One in twenty of the training examples is kept for validation. */
export const VALIDATION_SHARE = 1 / 20;

/** The same shuffle of 0 … count − 1 every time, cut in two. */
export function carveValidation(
  count: number,
  share = VALIDATION_SHARE,
): { train: Uint32Array; validation: Uint32Array } {
  const order = mixed(consecutive(0, count));
  // The product of a share and a count that should be whole may lie just below.
  const validation = Math.min(count - 1, Math.max(1, Math.floor(count * share + 1e-6)));
  return { train: order.subarray(validation), validation: order.subarray(0, validation) };
}

/** first, first + 1 … */
export function consecutive(first: number, count: number): Uint32Array {
  const numbers = new Uint32Array(count);
  for (let i = 0; i < count; i++) numbers[i] = first + i;
  return numbers;
}

/** In place, in the same order every time: a part of a split has all classes. */
export function mixed(indices: Uint32Array): Uint32Array {
  return new Random(0x5711).shuffle(indices);
}
