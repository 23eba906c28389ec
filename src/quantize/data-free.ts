import type { Graph, Weights } from '../model/graph.js';
import type { ActivationRange, InputSpec } from '../model/manifest.js';
import { fuseGraph } from './fuse.js';
import { type ChannelNormals, tensorMoments } from './moments.js';
import { cumulative } from './normal.js';
import { activationRange, Histogram } from './ranges.js';

/**
 * Images differ in contrast, so what they give has heavier tails than a normal distribution of the same mean and variance:
 * shares of normals with a part and with a multiple of the variance, which keep the variance and make a kurtosis of 5.4
 * (normal 3, Laplace 6). With a plain normal the clip at 8 bits cuts off real values and costs ten times the error.
 */
const TAILS = [
  { share: 0.9, deviation: Math.sqrt(0.7) },
  { share: 0.1, deviation: Math.sqrt(3.7) },
];
/** Deviations on either side of the mean that a range covers before it is clipped. */
const REACH = 8;

/**
 * Activation ranges of a model without any data: for each tensor the distribution that the weights and batch norms speak of
 * ({@link tensorMoments}), a mixture of the channels with equal shares, and of it at each width the clip of
 * the least expected squared error, found by the search that ranges from images take.
 * @returns by tensor name, for every tensor that has a range of its own
 * @throws ServiceError bad_model where a weight is missing
 */
export function dataFreeRanges(graph: Graph, weights: Weights, input: InputSpec): Record<string, ActivationRange> {
  const fused = fuseGraph(graph);
  const moments = tensorMoments(fused, weights, input);
  const ranges: Record<string, ActivationRange> = {};
  for (const { name, role, storageOf } of fused.tensors.values()) {
    if (storageOf !== null || (role !== 'activation' && role !== 'sum-operand')) continue;
    ranges[name] = activationRange(expectedHistogram(moments.get(name) as ChannelNormals));
  }
  return ranges;
}

/** Shares instead of counts: of each bin, the probability that a value falls into it. Exact zeros are left out. */
export function expectedHistogram({ mean, deviation, low, high }: ChannelNormals): Histogram {
  const bounds = Array.from(mean, (m, c): [number, number] => {
    const reach = REACH * deviation[c];
    return [held(m - reach, low[c], high[c]), held(m + reach, low[c], high[c])];
  });
  const least = bounds.reduce((least, [from]) => Math.min(least, from), 0);
  const most = bounds.reduce((most, [, to]) => Math.max(most, to), 0);
  const histogram = new Histogram(least, most);
  for (const [c, [from, to]] of bounds.entries()) {
    const share = (x: number) => belowOf(x - mean[c], deviation[c]);
    // What the bounds cut off lies on them; on zero it costs nothing.
    if (from !== 0) histogram.addAt(from, share(from));
    if (to !== 0) histogram.addAt(to, 1 - share(to));
    histogram.addBetween(from, to, share);
  }
  return histogram;
}

/** Share below a value, given as its distance from the mean. */
function belowOf(distance: number, deviation: number): number {
  if (!(deviation > 0)) return distance < 0 ? 0 : 1;
  return TAILS.reduce((sum, tail) => sum + tail.share * cumulative(distance / (deviation * tail.deviation)), 0);
}

function held(v: number, low: number, high: number): number {
  return Math.min(Math.max(v, low), high);
}
