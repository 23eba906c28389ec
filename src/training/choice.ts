import type { MeasuredRecord } from '../model/manifest.js';
import { type Precision, precisionKey, STANDARD_PRECISIONS } from '../quantize/precision.js';

/** What a request that names no precision may lose against float: half a point. */
const TOLERATED_LOSS = 0.005;

/** The square precisions that a default is chosen from, and float to compare with. */
export const DEFAULT_CANDIDATES: readonly Precision[] = STANDARD_PRECISIONS.filter(
  ({ weightBits, activationBits }) => weightBits === activationBits && (weightBits <= 8 || weightBits === 32),
);

/**
 * The default precision of a version: the narrowest standard square width (b × b, b ≤ 8) such that its accuracy, and
 * that of every wider one, on images held out of train is within half a point of float; 32×32 where none is.
 * @param measured by precision key, for {@link DEFAULT_CANDIDATES}
 */
export function chooseDefault(measured: Record<string, Pick<MeasuredRecord, 'accuracy'>>): string {
  const floor = measured['32x32'].accuracy - TOLERATED_LOSS;
  let chosen = '32x32';
  const narrowing = DEFAULT_CANDIDATES.filter((p) => p.weightBits <= 8).sort((a, b) => b.weightBits - a.weightBits);
  for (const key of narrowing.map(precisionKey)) {
    // The tolerance of a rounding in the accuracies' own division.
    if (measured[key].accuracy < floor - 1e-9) break;
    chosen = key;
  }
  return chosen;
}
