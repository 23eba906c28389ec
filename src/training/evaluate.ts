/** What a version is worth at each precision, measured by the engine that serves it. */
import { setImmediate } from 'node:timers/promises';
import { runPlan } from '../engine/reference.js';
import type { Graph, Weights } from '../model/graph.js';
import type { Manifest, PrecisionRecord } from '../model/manifest.js';
import { buildPlan } from '../quantize/build.js';
import { type EnergyTable, energyUj } from '../quantize/energy.js';
import { type Precision, precisionKey, STANDARD_PRECISIONS } from '../quantize/precision.js';
import type { Split } from './datasets/dataset.js';
import { TrainingCancelled } from './request.js';

/** A version, published or not yet. */
export interface Candidate {
  graph: Graph;
  weights: Weights;
  manifest: Pick<Manifest, 'input' | 'ranges' | 'quantizer'>;
}

export interface EvaluationOptions {
  energyTable: EnergyTable;
  /** By default every standard one. */
  precisions?: readonly Precision[];
  /** At most so many examples, the first of the split; by default all. */
  limit?: number;
  /** Asked before every batch. */
  isCancelled?(): boolean;
  /** @param done share of the work, 0..1 */
  onProgress?(done: number): void;
}

const BATCH = 50;

/**
 * Quantises the weights to each precision and classifies the split with the result.
 * @returns by precision key
 * @throws TrainingCancelled
 */
export async function evaluateVersion(
  version: Candidate,
  split: Split,
  options: EvaluationOptions,
): Promise<Record<string, PrecisionRecord>> {
  const { energyTable, precisions = STANDARD_PRECISIONS, limit = Number.POSITIVE_INFINITY } = options;
  const images = Math.min(split.size, limit);
  const records: Record<string, PrecisionRecord> = {};
  for (const [p, precision] of precisions.entries()) {
    const plan = buildPlan(version.graph, version.weights, version.manifest, precision);
    let right = 0;
    for (let from = 0; from < images; from += BATCH) {
      if (options.isCancelled?.()) throw new TrainingCancelled();
      const size = Math.min(BATCH, images - from);
      const { input, labels } = await split.batch(Uint32Array.from({ length: size }, (_, i) => from + i));
      right += countRight(runPlan(plan, input, size), labels);
      options.onProgress?.((p + (from + size) / images) / precisions.length);
      await setImmediate();
    }
    records[precisionKey(precision)] = {
      accuracy: right / images,
      images,
      memory_bytes: plan.arena.byteLength,
      macs: plan.macs,
      energy_uj: energyUj(plan, energyTable),
    };
  }
  return records;
}

/** How often the largest logit is the label's; of equal logits the first counts. */
function countRight(logits: Float32Array, labels: Int32Array): number {
  const classes = logits.length / labels.length;
  let right = 0;
  for (let i = 0; i < labels.length; i++) {
    let best = 0;
    for (let c = 1; c < classes; c++) if (logits[i * classes + c] > logits[i * classes + best]) best = c;
    if (best === labels[i]) right++;
  }
  return right;
}
