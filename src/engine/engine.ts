import type { Graph, Weights } from '../model/graph.js';
import type { Manifest } from '../model/manifest.js';
import type { Plan } from '../quantize/plan.js';
import type { Precision } from '../quantize/precision.js';

/** What an engine needs of a version to build a variant. `readWeights` reads them anew: nothing keeps the floats. */
export interface VariantSource {
  graph: Graph;
  manifest: Pick<Manifest, 'input' | 'ranges' | 'quantizer'>;
  /** Folder of the version, for engines that read the weights themselves, on another thread. */
  folder: string;
  readWeights(): Promise<Weights>;
}

/** A plan without the memory that its slices mean. */
export type PlanOutline = Omit<Plan, 'arena'>;

/** One version at one precision, resident and ready to run. */
export interface Variant {
  /** Its ops and tensors; where the codes are is the engine's affair. */
  readonly plan: PlanOutline;
  readonly precision: Precision;
  /** Bytes resident for it: packed codes, scales, biases. */
  readonly memoryBytes: number;
  readonly buildMs: number;
  /** Name of the engine that built it, as answers and metrics show it: `reference`, `native-avx512-vnni` … */
  readonly engine: string;
}

/** Runs plans, off the event loop. */
export interface Engine {
  readonly name: string;
  /** Quantises the weights to the precision. */
  build(source: VariantSource, precision: Precision): Promise<Variant>;
  /**
   * @param input float32 NHWC in the model's input range, batch × height × width × channels long
   * @returns logits, batch × classes, and the milliseconds it waited and computed
   */
  run(variant: Variant, input: Float32Array, batch: number): Promise<RunResult>;
  /** Lets go of what the engine holds for a variant. */
  release(variant: Variant): void;
  /** Ends the engine's threads. */
  close(): Promise<void>;
}

export interface RunResult {
  logits: Float32Array;
  queueMs: number;
  computeMs: number;
}
