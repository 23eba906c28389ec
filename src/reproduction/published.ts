import type { QuantizerName } from './record.js';

/** Figures of others on CIFAR-10, in percent, by precision key; a pair is the range that was reported. */
export interface Published {
  title: string;
  source: string;
  /** Which of our two tables they stand under: the one that quantises as they did, or came nearest to it. */
  quantizer: QuantizerName;
  accuracies: Record<string, number | [number, number]>;
}

const ALIZADEH = { source: 'Alizadeh et al., ICLR 2020, per-tensor min-max', quantizer: 'min-max' } as const;
const JOINT = {
  source: 'Any-Precision (Yu et al., AAAI 2021) and Double Rounding: trained for each of its widths, so a ceiling',
  quantizer: 'ours',
} as const;

export const PUBLISHED: readonly Published[] = [
  { title: 'VGG-like, plain', ...ALIZADEH, accuracies: { '4x4': 11.47 } },
  { title: 'VGG-like, gradient l1', ...ALIZADEH, accuracies: { '4x4': 85.99 } },
  { title: 'ResNet-18, plain', ...ALIZADEH, accuracies: { '4x4': 82.47 } },
  { title: 'ResNet-18, gradient l1', ...ALIZADEH, accuracies: { '4x4': 87.62 } },
  { title: 'ResNet-20, joint training', ...JOINT, accuracies: { '4x4': [92.1, 93.9], '2x2': 90.2 } },
];

/** Those that stand beside a study's figures. */
export function publishedFor(dataset: string, quantizer: QuantizerName): Published[] {
  return dataset === 'cifar10' ? PUBLISHED.filter((entry) => entry.quantizer === quantizer) : [];
}
