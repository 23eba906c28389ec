import type { Graph, Weights } from '../model/graph.js';
import type { ActivationRange, InputSpec } from '../model/manifest.js';
import { buildPlan } from '../quantize/build.js';
import { fuseGraph } from '../quantize/fuse.js';
import { activationRange, extremes, Histogram } from '../quantize/ranges.js';
import { runPlan } from './reference.js';

/** Float32 NHWC images in the input range, batch × height × width × channels. */
export interface CalibrationBatch {
  input: Float32Array;
  batch: number;
}

/**
 * Activation ranges of a model from calibration images (of the training set, or held out of it; never test images): two
 * passes of the float model, the first for the extremes, the second for the histograms that the clip search reads.
 * @param beforeBatch called before each batch of each pass; what it throws ends the calibration
 * @returns by tensor name, for every tensor that has a range of its own
 */
export function calibrate(
  graph: Graph,
  weights: Weights,
  input: InputSpec,
  images: Iterable<CalibrationBatch>,
  beforeBatch: () => void = () => {},
): Record<string, ActivationRange> {
  const source = { input, ranges: {}, quantizer: { clip_rules: {}, minimum_bits: {} } };
  const plan = buildPlan(graph, weights, source, { weightBits: 32, activationBits: 32 });
  const wanted = new Set(
    [...fuseGraph(graph).tensors.values()]
      .filter((t) => t.storageOf === null && (t.role === 'activation' || t.role === 'sum-operand'))
      .map((t) => t.name),
  );
  const batches = [...images];
  if (batches.length === 0) throw new RangeError('calibration: expected at least one image, got none');
  const observed = new Map<string, [number, number]>();
  for (const { input: values, batch } of batches) {
    beforeBatch();
    runPlan(plan, values, batch, (tensor, seen) => {
      if (!wanted.has(tensor.name)) return;
      observed.set(tensor.name, extremes(seen, observed.get(tensor.name)));
    });
  }
  const histograms = new Map([...observed].map(([name, [min, max]]) => [name, new Histogram(min, max)]));
  for (const { input: values, batch } of batches) {
    beforeBatch();
    runPlan(plan, values, batch, (tensor, seen) => histograms.get(tensor.name)?.add(seen));
  }
  return Object.fromEntries([...histograms].map(([name, histogram]) => [name, activationRange(histogram)]));
}
