/** Answers of a version that need not be published: on the native engine where it loads, else on the reference engine. */
import { correctionsOf, type PlanOutline, type VariantSource } from '../engine/engine.js';
import { NativeEngine } from '../engine/native.js';
import { runPlan } from '../engine/reference.js';
import type { BiasCorrections, LayerCorrections } from '../model/corrections.js';
import type { Graph, Weights } from '../model/graph.js';
import type { Manifest } from '../model/manifest.js';
import type { VersionSource } from '../model/version.js';
import { buildFused } from '../quantize/build.js';
import { type FusedGraph, fuseGraph } from '../quantize/fuse.js';
import type { Precision } from '../quantize/precision.js';

/** A version, published or not yet. */
export interface Candidate {
  graph: Graph;
  weights: Weights;
  manifest: Pick<Manifest, 'input' | 'ranges' | 'quantizer'>;
  /** Those that the manifest speaks of. */
  corrections?: BiasCorrections;
}

/** A published version. */
export async function candidateOf(source: VersionSource): Promise<Candidate> {
  const { graph, manifest } = source;
  const corrections = new Map<string, LayerCorrections>();
  for (const key of Object.keys(manifest.quantizer.bias_corrections?.offsets ?? {})) {
    corrections.set(key, await source.readCorrections(key));
  }
  return { graph, weights: await source.readWeights(), manifest, corrections };
}

/** Answers at one precision. */
export interface Runner {
  plan: PlanOutline;
  run(input: Float32Array, batch: number): Promise<Float32Array>;
  release(): void;
}

/** Makes runners. The native engine's integer answers are the reference engine's, bit for bit. */
export class Runners {
  private constructor(readonly engine: NativeEngine | null) {}

  /** @param threads by default one: the service's own predictions come first */
  static async open(threads = 1): Promise<Runners> {
    try {
      return new Runners(await NativeEngine.create({ threads }));
    } catch {
      return new Runners(null);
    }
  }

  /** @param fused the ops to run where they are not those of the whole graph */
  async runner(version: Candidate, precision: Precision, fused?: FusedGraph): Promise<Runner> {
    const { graph, manifest, weights, corrections } = version;
    const readCorrections = async (key: string) => corrections?.get(key) as LayerCorrections;
    const source: VariantSource = {
      graph,
      fused,
      manifest,
      folder: '',
      readWeights: async () => weights,
      readCorrections,
    };
    const { engine } = this;
    if (engine !== null) {
      const variant = await engine.build(source, precision);
      return {
        plan: variant.plan,
        run: async (input, batch) => (await engine.run(variant, input, batch)).logits,
        release: () => engine.release(variant),
      };
    }
    const taken = await correctionsOf(source, precision);
    const plan = buildFused(fused ?? fuseGraph(graph), weights, manifest, precision, taken);
    return { plan, run: async (input, batch) => runPlan(plan, input, batch), release: () => {} };
  }

  async close(): Promise<void> {
    await this.engine?.close();
  }
}
