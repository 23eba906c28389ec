import type { Random } from '../random.js';
import type { Augmentation, Dataset, Examples } from './dataset.js';

/** The examples, each moved by whole pixels at random; what comes in from outside is the input range's low end. */
export function augment(examples: Examples, dataset: Dataset, random: Random): Examples {
  const { shift }: Augmentation = dataset.augmentation;
  if (shift === 0) return examples;
  const [height, width, channels] = dataset.inputShape;
  const size = height * width * channels;
  const input = new Float32Array(examples.input.length).fill(dataset.inputRange[0]);
  for (let i = 0; i < examples.labels.length; i++) {
    const dy = random.below(2 * shift + 1) - shift;
    const dx = random.below(2 * shift + 1) - shift;
    const first = Math.max(0, dx);
    const end = Math.min(width, width + dx);
    for (let y = Math.max(0, dy); y < Math.min(height, height + dy); y++) {
      const from = i * size + ((y - dy) * width + first - dx) * channels;
      const row = examples.input.subarray(from, from + (end - first) * channels);
      input.set(row, i * size + (y * width + first) * channels);
    }
  }
  return { input, labels: examples.labels };
}
