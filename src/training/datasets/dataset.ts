import { Random } from '../random.js';

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

export interface Dataset {
  name: string;
  /** [height, width, channels] */
  inputShape: [number, number, number];
  /** What bytes 0 and 255 become. */
  inputRange: [number, number];
  labels: string[];
  augmentation: Augmentation;
  train: Split;
  /** Carved from the training examples, the same ones at every training: for choices. */
  validation: Split;
  /** Held out: for reporting only. */
  test: Split;
}

/** Images as bytes in memory, one after the other. */
export interface ByteImages {
  pixels: Uint8Array;
  labels: Uint8Array;
}

/**
 * @param order which examples, and in which order
 * @param range what bytes 0 and 255 become
 */
export function byteSplit(images: ByteImages, order: Uint32Array, size: number, [low, high]: [number, number]): Split {
  const values = Float32Array.from({ length: 256 }, (_, byte) => low + (byte / 255) * (high - low));
  return {
    size: order.length,
    async batch(indices) {
      const input = new Float32Array(indices.length * size);
      const labels = new Int32Array(indices.length);
      for (let i = 0; i < indices.length; i++) {
        const example = order[indices[i]];
        if (example === undefined) throw new RangeError(`example ${indices[i]}: expected 0 to ${order.length - 1}`);
        labels[i] = images.labels[example];
        const from = example * size;
        for (let p = 0; p < size; p++) input[i * size + p] = values[images.pixels[from + p]];
      }
      return { input, labels };
    },
  };
}

/** One in twenty of the training examples is kept for validation. */
const VALIDATION_SHARE = 20;

/** The same shuffle of 0 … count − 1 every time, cut in two. */
export function carveValidation(count: number): { train: Uint32Array; validation: Uint32Array } {
  const order = new Random(0x5711).shuffle(Uint32Array.from({ length: count }, (_, i) => i));
  const validation = Math.floor(count / VALIDATION_SHARE);
  return { train: order.subarray(validation), validation: order.subarray(0, validation) };
}
