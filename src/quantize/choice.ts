import type { ClipRule, Manifest } from '../model/manifest.js';
import { isInteger, type Precision, precisionKey } from './precision.js';

/** How a version is quantised at one precision. */
export interface QuantizerChoice {
  clipRule: ClipRule;
  /** On the clip of the activation ranges; 1 is the least squared error. */
  rangeFactor: number;
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
    clipRule: clip_rules[key] ?? 'squared-error',
    rangeFactor: range_factors?.[key] ?? 1,
    biasCorrection: isInteger(precision) && Object.hasOwn(bias_corrections?.offsets ?? {}, key),
  };
}
