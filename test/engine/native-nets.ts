import { calibrate } from '../../src/engine/calibration.js';
import type { VariantSource } from '../../src/engine/engine.js';
import { loadLibrary, type NativeLibrary } from '../../src/engine/native-library.js';
import type { ClipRule } from '../../src/model/manifest.js';
import { type Precision, precisionKey } from '../../src/quantize/precision.js';
import { randomNet } from '../support/nets.js';
import { Random } from '../support/random.js';

/** The addon, or null with the reason why tests of it are skipped. */
export function findLibrary(): { library: NativeLibrary | null; skip: string | false } {
  try {
    return { library: loadLibrary(), skip: false };
  } catch (error) {
    return { library: null, skip: `the addon is not built: npm run build:native (${(error as Error).message})` };
  }
}

export interface TestNet {
  source: VariantSource;
  /** Random images in the input range. */
  draw(batch: number): Float32Array;
  random: Random;
}

/** A random calibrated net. */
export function testNet(seed: number, layers = 8): TestNet {
  const random = new Random(seed);
  const { graph, weights } = randomNet(random, random.integer(1, layers));
  const shape = graph.nodes[0].shape as [number, number, number];
  const size = shape.reduce((a, b) => a * b, 1);
  const low = random.pick([0, -1]);
  const input = { shape, range: [low, 1] as [number, number], resize: 'fill' as const };
  const draw = (batch: number) => Float32Array.from({ length: batch * size }, () => low + random.next() * (1 - low));
  const ranges = calibrate(graph, weights, input, [{ input: draw(2), batch: 2 }]);
  const source: VariantSource = {
    graph,
    folder: '',
    manifest: { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } },
    readWeights: async () => weights,
  };
  return { source, draw, random };
}

/** The same net under another clip rule at a precision. */
export function withRule(source: VariantSource, precision: Precision, rule: ClipRule): VariantSource {
  const quantizer = { ...source.manifest.quantizer, clip_rules: { [precisionKey(precision)]: rule } };
  return { ...source, manifest: { ...source.manifest, quantizer } };
}
