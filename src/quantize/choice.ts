import type { ClipRule, Manifest } from '../model/manifest.js';
import { isInteger, type Precision, precisionKey } from './precision.js';

/** How a version is quantised at one precision. */
export interface QuantizerChoice {
  /** Null where weights are floats. */
  clipRule: ClipRule | null;
  /** On the clips of the activation ranges, 1 being the least squared error; null where activations are floats. */
  rangeFactor: number | null;
  /** Whether the version holds corrections of this precision's biases. */
  biasCorrection: boolean;
}

/**
 * What the manifest says of a precision. Where nothing was chosen for just this one: least squared error for weights and
 * ranges, biases as they are. A neighbour's choice is not taken over: it was measured with other activations.
 */
export function quantizerChoice(quantizer: Manifest['quantizer'], precision: Precision): QuantizerChoice {
  const key = precisionKey(precision);
  const { clip_rules, range_factors, bias_corrections } = quantizer;
  return {
    clipRule: precision.weightBits > 8 ? null : (clip_rules[key] ?? 'squared-error'),
    rangeFactor: precision.activationBits > 8 ? null : (range_factors?.[key] ?? 1),
    biasCorrection: isInteger(precision) && Object.hasOwn(bias_corrections?.offsets ?? {}, key),
  };
}
