import type { Random } from '../random.js';
import type { Augmentation, Dataset, Examples } from './dataset.js';

/** The examples, each moved by whole pixels and mirrored at random; what comes in from outside is black: the low end of each channel's range. */
export function augment(examples: Examples, dataset: Dataset, random: Random): Examples {
  const { shift, flip }: Augmentation = dataset.augmentation;
  if (shift === 0 && !flip) return examples;
  const [height, width, channels] = dataset.inputShape;
  const size = height * width * channels;
  const input = new Float32Array(examples.input.length).fill(dataset.inputRange[0]);
  for (const [c, [low]] of dataset.channelRanges?.entries() ?? []) {
    for (let i = c; i < input.length; i += channels) input[i] = low;
  }
  for (let i = 0; i < examples.labels.length; i++) {
    const dy = random.below(2 * shift + 1) - shift;
    const dx = random.below(2 * shift + 1) - shift;
    const mirrored = flip && random.below(2) === 1;
    const first = Math.max(0, dx);
    const end = Math.min(width, width + dx);
    for (let y = Math.max(0, dy); y < Math.min(height, height + dy); y++) {
      const from = i * size + ((y - dy) * width + first - dx) * channels;
      const row = examples.input.subarray(from, from + (end - first) * channels);
      const to = i * size + y * width * channels;
      if (mirrored) setMirrored(input, row, to + (width - end) * channels, channels);
      else input.set(row, to + first * channels);
    }
  }
  return { input, labels: examples.labels };
}

/** Pixels from last to first, each with its channels in order. */
function setMirrored(target: Float32Array, row: Float32Array, at: number, channels: number): void {
  for (let from = row.length - channels; from >= 0; from -= channels) {
    for (let c = 0; c < channels; c++) target[at++] = row[from + c];
  }
}
