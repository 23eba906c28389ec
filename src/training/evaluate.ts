/** What a version is worth at each precision, measured by the engine that serves it. */
import { setImmediate } from 'node:timers/promises';
import type { PlanOutline } from '../engine/engine.js';
import { NativeEngine } from '../engine/native.js';
import { runPlan } from '../engine/reference.js';
import type { Graph, Weights } from '../model/graph.js';
import type { Manifest, PrecisionRecord } from '../model/manifest.js';
import { buildPlan, planBytes } from '../quantize/build.js';
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

/** Answers at one precision. */
interface Runner {
  plan: PlanOutline;
  run(input: Float32Array, batch: number): Promise<Float32Array>;
  release(): void;
}

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
): Promise<Record<string, PrecisionRecord>> {
  const { energyTable, precisions = STANDARD_PRECISIONS, limit = Number.POSITIVE_INFINITY } = options;
  const images = Math.min(split.size, limit);
  const records: Record<string, PrecisionRecord> = {};
  const engine = await nativeEngine();
  try {
    for (const [p, precision] of precisions.entries()) {
      const runner = engine ? await nativeRunner(engine, version, precision) : referenceRunner(version, precision);
      let right = 0;
      for (let from = 0; from < images; from += BATCH) {
        if (options.isCancelled?.()) throw new TrainingCancelled();
        const size = Math.min(BATCH, images - from);
        const { input, labels } = await split.batch(Uint32Array.from({ length: size }, (_, i) => from + i));
        right += countRight(await runner.run(input, size), labels);
        options.onProgress?.((p + (from + size) / images) / precisions.length);
        await setImmediate();
      }
      runner.release();
      records[precisionKey(precision)] = {
        accuracy: right / images,
        images,
        memory_bytes: planBytes(version.graph, version.manifest, precision),
        macs: runner.plan.macs,
        energy_uj: energyUj(runner.plan, energyTable),
      };
    }
    return records;
  } finally {
    await engine?.close();
  }
}

/** One thread: the service's own predictions come first. Null where the addon is not built. */
async function nativeEngine(): Promise<NativeEngine | null> {
  try {
    return await NativeEngine.create({ threads: 1 });
  } catch {
    return null;
  }
}

async function nativeRunner(engine: NativeEngine, version: Candidate, precision: Precision): Promise<Runner> {
  const { graph, manifest, weights } = version;
  const variant = await engine.build({ graph, manifest, folder: '', readWeights: async () => weights }, precision);
  return {
    plan: variant.plan,
    run: async (input, batch) => (await engine.run(variant, input, batch)).logits,
    release: () => engine.release(variant),
  };
}

function referenceRunner({ graph, weights, manifest }: Candidate, precision: Precision): Runner {
  const plan = buildPlan(graph, weights, manifest, precision);
  return { plan, run: async (input, batch) => runPlan(plan, input, batch), release: () => {} };
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
