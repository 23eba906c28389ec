import { ServiceError } from '../errors.js';
import type { Manifest } from '../model/manifest.js';
import { quantizerChoice } from './choice.js';
import type { FusedGraph, FusedTensor } from './fuse.js';
import type { TensorStorage } from './plan.js';
import type { Precision } from './precision.js';
import { codesParameters } from './ranges.js';

/** What of a manifest decides on codes. */
export type QuantizerSource = Pick<Manifest, 'input' | 'ranges' | 'quantizer'>;

/** The input image and what only additions take keep at least 8 bits. */
const LEAST_BITS_BEFORE_ACTIVATION = 8;

/** Bits that a tensor is stored with at a precision; 32 for the logits. */
export function tensorBits(tensor: FusedTensor, precision: Precision, quantizer: Manifest['quantizer']): number {
  if (tensor.role === 'logits') return 32;
  const bits = precision.activationBits;
  if (bits > 8) return bits;
  const least = quantizer.minimum_bits[tensor.name]?.activations ?? 0;
  return Math.max(bits, least, tensor.role === 'activation' ? 0 : LEAST_BITS_BEFORE_ACTIVATION);
}

/** Bits of a layer's weights at a precision. */
export function weightBits(layer: string, precision: Precision, quantizer: Manifest['quantizer']): number {
  if (precision.weightBits > 8) return precision.weightBits;
  return Math.max(precision.weightBits, quantizer.minimum_bits[layer]?.weights ?? 0);
}

/**
 * How each tensor is stored at a precision. Maxima and padding keep their source's storage, and what goes only into a
 * concatenation takes the concatenation's, so that joining copies codes instead of rounding twice.
 * @throws ServiceError bad_model where the manifest has no range for a tensor
 */
export function tensorStorages(
  graph: FusedGraph,
  source: QuantizerSource,
  precision: Precision,
): Map<string, TensorStorage> {
  const storages = new Map<string, TensorStorage>();
  const { rangeFactor } = quantizerChoice(source.quantizer, precision);
  for (const tensor of graph.tensors.values()) {
    if (tensor.storageOf !== null) {
      storages.set(tensor.name, storages.get(tensor.storageOf) as TensorStorage);
      continue;
    }
    const bits = tensorBits(tensor, precision, source.quantizer);
    if (bits === 32) storages.set(tensor.name, { kind: 'float32' });
    else if (bits === 16) storages.set(tensor.name, { kind: 'float16' });
    else {
      const [low, high] = rangeOf(tensor, bits, source, rangeFactor ?? 1);
      storages.set(tensor.name, { kind: 'codes', ...codesParameters(low, high, bits) });
    }
  }
  return storages;
}

/** The clip of a width times the precision's factor, but never wider than what was observed. */
function rangeOf(tensor: FusedTensor, bits: number, source: QuantizerSource, factor: number): [number, number] {
  if (tensor.role === 'input') return source.input.range;
  const range = source.ranges[tensor.rangeOf];
  const clip = range?.clip[bits];
  if (!clip) {
    const name = tensor.rangeOf;
    throw new ServiceError('bad_model', `ranges: expected a clip range of tensor ${name} at ${bits} bits, found none`);
  }
  if (factor === 1) return clip;
  return [
    Math.max(clip[0] * factor, Math.min(range.min, clip[0])),
    Math.min(clip[1] * factor, Math.max(range.max, clip[1])),
  ];
}
