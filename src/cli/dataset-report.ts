import type { OpenDataset } from '../training/datasets/dataset.js';
import { skippedText } from '../training/datasets/skipped.js';

const KINDS = { idx: 'IDX files', 'cifar-binary': 'CIFAR binary files', images: 'a folder of images' };
const MOST_CLASSES = 20;

/** What a data set holds, as text. */
export function datasetReport({ kind, input, labels, augmentation, skipped, ...parts }: OpenDataset): string {
  const { train, validation, test } = parts;
  const counts = [train, validation, test].map((split) => {
    const counted = new Uint32Array(labels.length);
    for (let i = 0; i < split.size; i++) counted[split.labelOf(i)]++;
    return counted;
  });
  const classes = labels.slice(0, MOST_CLASSES).map((label, c) => {
    return `  ${label}: ${counts.map((counted) => counted[c]).join(' + ')}`;
  });
  if (labels.length > MOST_CLASSES) classes.push(`  and ${labels.length - MOST_CLASSES} more`);
  const { shift, flip } = augmentation;
  return [
    `${KINDS[kind]}: ${labels.length} classes of images of ${input.shape.join('×')}, ${input.range.join(' to ')}, ${input.resize}`,
    `augmentation: shift ${shift}, ${flip ? 'mirrored at random' : 'not mirrored'}`,
    `examples: ${train.size} train + ${validation.size} validation + ${test.size} test`,
    ...classes,
    ...(skipped ? [skippedText(skipped)] : []),
  ].join('\n');
}
