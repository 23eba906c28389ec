/**
 * The quantiser that the gradient l1 paper measures with, for comparison only: nothing serves it. One scale and zero point a weight
 * tensor, over its whole range [min, max]; activations likewise, over the range that calibration saw. Batch norm is folded first,
 * as serving does. The quantised weights are put back as floats and run under the activations' widths: what integers would
 * give, but for rounding in float32.
 */
import type { FloatTensor, Graph, Weights } from '../model/graph.js';
import type { ActivationRange, Manifest } from '../model/manifest.js';
import { foldGraph } from '../quantize/fold-graph.js';
import { fuseGraph } from '../quantize/fuse.js';
import { parsePrecision, precisionKey, type Width } from '../quantize/precision.js';
import { codesParameters, extremes } from '../quantize/ranges.js';
import { clamp, roundHalfEven } from '../quantize/rounding.js';
import type { Split } from '../training/datasets/dataset.js';
import { type EvaluationOptions, evaluateVersion } from '../training/evaluate.js';
import type { Candidate } from '../training/runner.js';
import { kernelNames } from '../training/weights.js';

/** s·(q − z), q = clamp(round half to even(w/s) + z, 0, 2^bits − 1), s and z from [min(w, 0), max(w, 0)]. */
export function minMaxTensor({ shape, data }: FloatTensor, bits: number): FloatTensor {
  const { scale, zeroPoint } = codesParameters(...extremes(data), bits);
  const top = 2 ** bits - 1;
  const quantised = data.map((w) => scale * (clamp(roundHalfEven(w / scale) + zeroPoint, 0, top) - zeroPoint));
  return { shape, data: quantised };
}

/** The version with its kernels quantised so; its activation ranges are the extremes at every width. */
export function minMaxVersion(version: Candidate, weightBits: number): Candidate {
  const { graph, weights } = foldGraph(version.graph, version.weights);
  const kernels = new Set(kernelNames(graph));
  const quantised: Weights = new Map(
    [...weights].map(([name, tensor]) => [name, kernels.has(name) ? minMaxTensor(tensor, weightBits) : tensor]),
  );
  const ranges = wholeRanges(version.graph, version.manifest.ranges);
  const quantizer = { clip_rules: {}, minimum_bits: {} };
  return { graph, weights: quantised, manifest: { input: version.manifest.input, ranges, quantizer } };
}

/** Under the names of the folded net: a tensor that a batch norm ended bears its layer's name there. */
function wholeRanges(graph: Graph, ranges: Manifest['ranges']): Manifest['ranges'] {
  const folded = new Map<string, string>();
  for (const op of fuseGraph(graph).ops) {
    if (op.kind === 'linear' && op.batchNorm !== null) folded.set(op.batchNorm.name, op.node.name);
  }
  const whole = ({ min, max }: ActivationRange): ActivationRange => {
    const clip = Object.fromEntries([2, 3, 4, 5, 6, 7, 8].map((bits) => [bits, [min, max] as [number, number]]));
    return { min, max, clip };
  };
  return Object.fromEntries(Object.entries(ranges).map(([name, range]) => [folded.get(name) ?? name, whole(range)]));
}

/**
 * Accuracy by precision key, all widths from 2 to 8.
 * @param version with every activation tensor's range
 */
export async function minMaxAccuracies(
  version: Candidate,
  split: Split,
  keys: readonly string[],
  options: Omit<EvaluationOptions, 'precisions'>,
): Promise<Record<string, number>> {
  const asked = keys.map(parsePrecision);
  const accuracies: Record<string, number> = {};
  for (const weightBits of new Set(asked.map((p) => p.weightBits))) {
    const widths = asked.filter((p) => p.weightBits === weightBits).map((p) => p.activationBits);
    const precisions = widths.map((activationBits: Width) => ({ weightBits: 32 as const, activationBits }));
    const records = await evaluateVersion(minMaxVersion(version, weightBits), split, { ...options, precisions });
    for (const precision of precisions) {
      const { activationBits } = precision;
      accuracies[precisionKey({ weightBits, activationBits })] = records[precisionKey(precision)].accuracy;
    }
  }
  return accuracies;
}
