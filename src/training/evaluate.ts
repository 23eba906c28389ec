/** What a version is worth at each precision, measured by the engine that serves it. */
import type { MeasuredRecord } from '../model/manifest.js';
import { planBytes } from '../quantize/build.js';
import { type EnergyTable, energyUj } from '../quantize/energy.js';
import { type Precision, precisionKey, STANDARD_PRECISIONS } from '../quantize/precision.js';
import type { Split } from './datasets/dataset.js';
import { ImageBatches } from './image-batches.js';
import { type Candidate, Runners } from './runner.js';
import { accuracyOf, score } from './score.js';

export interface EvaluationOptions {
  energyTable: EnergyTable;
  /** By default every standard one. */
  precisions?: readonly Precision[];
  /** At most so many examples, the first of the split; by default all. */
  limit?: number;
  /** Of the native engine; by default one, for a service's own predictions come first. 0: one for each core. */
  threads?: number;
  /** Asked before every batch. */
  isCancelled?(): boolean;
  /** @param done share of the work, 0..1 */
  onProgress?(done: number): void;
}

const BATCH = 50;

/**
 * Quantises the weights to each precision and classifies the split with the result, on the native engine where it
 * loads: its integer answers are the reference engine's, bit for bit.
 * @returns by precision key
 * @throws TrainingCancelled
 */
export async function evaluateVersion(
  version: Candidate,
  split: Split,
  options: EvaluationOptions,
): Promise<Record<string, MeasuredRecord>> {
  const { energyTable, precisions = STANDARD_PRECISIONS, limit = Number.POSITIVE_INFINITY } = options;
  const images = Math.min(split.size, limit);
  const records: Record<string, MeasuredRecord> = {};
  const runners = await Runners.open(options.threads);
  try {
    const batches = new ImageBatches(split, 0, images, BATCH);
    for (const [p, precision] of precisions.entries()) {
      const runner = await runners.runner(version, precision);
      const found = await score(runner, batches, {
        isCancelled: options.isCancelled,
        onProgress: (done) => options.onProgress?.((p + done / images) / precisions.length),
      });
      runner.release();
      records[precisionKey(precision)] = {
        accuracy: accuracyOf(found),
        images,
        memory_bytes: planBytes(version.graph, version.manifest, precision),
        macs: runner.plan.macs,
        energy_uj: energyUj(runner.plan, energyTable),
      };
    }
    return records;
  } finally {
    await runners.close();
  }
}
