/**
 * Bias correction: quantised weights and inputs shift the mean of a layer's outputs, channel by channel; the shift is
 * measured on images and taken from the bias (Nagel et al. 2019, arXiv 1906.04721, §4.2 and appendix D; Finkelstein et al.
 * 2019, arXiv 1906.03193). Layer after layer, so that each is measured behind layers that are corrected already.
 */
import { setImmediate } from 'node:timers/promises';
import { encodeCorrections, type LayerCorrections } from '../model/corrections.js';
import { outline } from '../quantize/build.js';
import { foldedWeights } from '../quantize/fold.js';
import { type FusedAffine, type FusedGraph, type FusedLinear, fuseGraph } from '../quantize/fuse.js';
import { type Precision, precisionKey } from '../quantize/precision.js';
import { prefixTo } from '../quantize/prefix.js';
import type { Split } from './datasets/dataset.js';
import { ImageBatches } from './image-batches.js';
import { TrainingCancelled } from './request.js';
import type { Candidate, Runner, Runners } from './runner.js';

const FLOAT: Precision = { weightBits: 32, activationBits: 32 };
/** Multiply-accumulates that the measuring of one precision may take: seconds, on either engine. */
const NATIVE_MACS = 1e11;
const REFERENCE_MACS = 1e9;
const LEAST_IMAGES = 16;
/** Numbers of a layer's result that are looked at together. */
const BATCH_NUMBERS = 4e6;
const BATCH_IMAGES = 50;

interface Layer {
  name: string;
  prefix: FusedGraph;
  /** Of the float net, batch norm folded in. */
  bias: Float32Array;
  /** Mean of each output channel of the float net. */
  means: Float64Array;
}

/** Measures corrections of one version's biases; the float net's means are taken once, for all precisions. */
export class BiasCorrector {
  private constructor(
    private readonly runners: Runners,
    private readonly layers: Layer[],
    private readonly images: ImageBatches,
    private readonly isCancelled: () => boolean,
  ) {}

  /**
   * @param images of the split, from `first` on, at most `count`; fewer where the net is large
   * @throws TrainingCancelled
   */
  static async over(
    version: Candidate,
    { split, first, count }: { split: Split; first: number; count: number },
    runners: Runners,
    isCancelled: () => boolean,
  ): Promise<BiasCorrector> {
    const fused = fuseGraph(version.graph);
    const ops = fused.ops.filter((op): op is FusedLinear | FusedAffine => op.kind !== 'other');
    const prefixes = ops.map((op) => ({ op, prefix: prefixTo(fused, op) }));
    const macs = prefixes.reduce((sum, { prefix }) => sum + outline(prefix, version.manifest, FLOAT).plan.macs, 0);
    const affordable = Math.floor((runners.engine ? NATIVE_MACS : REFERENCE_MACS) / macs);
    const taken = Math.min(count, Math.max(affordable, LEAST_IMAGES));
    const dims = prefixes.map(({ prefix }) => prefix.tensors.get(prefix.output)?.dims as number[]);
    const largest = Math.max(...dims.map(([height, width, channels]) => height * width * channels));
    const size = Math.max(1, Math.min(BATCH_IMAGES, Math.floor(BATCH_NUMBERS / largest)));
    const images = new ImageBatches(split, first, taken, size);
    const layers: Layer[] = [];
    for (const [i, { op, prefix }] of prefixes.entries()) {
      const runner = await runners.runner(version, FLOAT, prefix);
      const means = await channelMeans(runner, images, dims[i][2], isCancelled);
      layers.push({ name: op.node.name, prefix, bias: foldedWeights(op, version.weights).bias, means });
    }
    return new BiasCorrector(runners, layers, images, isCancelled);
  }

  /**
   * @param version with the clip rule and the range factor of the precision; corrections that it has there do not count
   * @throws TrainingCancelled
   */
  async measure(version: Candidate, precision: Precision): Promise<LayerCorrections> {
    const corrections = new Map<string, Float32Array>();
    for (const { name, prefix, bias, means } of this.layers) {
      // Without its bias, which would be rounded to whole steps now and again when it is corrected.
      corrections.set(name, bias);
      const so = withCorrections(version, precision, corrections);
      const runner = await this.runners.runner(so, precision, prefix);
      const shifted = await channelMeans(runner, this.images, means.length, this.isCancelled);
      corrections.set(
        name,
        Float32Array.from(shifted, (mean, c) => mean + bias[c] - means[c]),
      );
    }
    return corrections;
  }
}

/** The version with these corrections at the precision, and none at others; an empty map takes them all away. */
export function withCorrections(version: Candidate, precision: Precision, layers: LayerCorrections): Candidate {
  const corrections = layers.size === 0 ? new Map() : new Map([[precisionKey(precision), layers]]);
  const { bias_corrections: _, ...quantizer } = version.manifest.quantizer;
  const encoded = encodeCorrections(corrections);
  const chosen = encoded ? { ...quantizer, bias_corrections: encoded.index } : quantizer;
  return { ...version, manifest: { ...version.manifest, quantizer: chosen }, corrections };
}

/** Mean of each channel of a runner's answers, over images and pixels; releases the runner. */
async function channelMeans(runner: Runner, images: ImageBatches, channels: number, isCancelled: () => boolean) {
  const sums = new Float64Array(channels);
  let pixels = 0;
  try {
    for await (const { input, labels } of images) {
      if (isCancelled()) throw new TrainingCancelled();
      const values = await runner.run(input, labels.length);
      for (let i = 0; i < values.length; i += channels) {
        for (let c = 0; c < channels; c++) sums[c] += values[i + c];
      }
      pixels += values.length / channels;
      await setImmediate();
    }
  } finally {
    runner.release();
  }
  return sums.map((sum) => sum / pixels);
}
