import { ServiceError } from '../errors.js';
import type { LayerCorrections } from '../model/corrections.js';
import type { Graph, Weights } from '../model/graph.js';
import type { Manifest } from '../model/manifest.js';
import { quantizerChoice } from '../quantize/choice.js';
import type { FusedGraph } from '../quantize/fuse.js';
import type { Plan } from '../quantize/plan.js';
import { type Precision, precisionKey } from '../quantize/precision.js';

/** What an engine needs of a version to build a variant. `readWeights` reads them anew: nothing keeps the floats. */
export interface VariantSource {
  graph: Graph;
  /** The ops to run where they are not those of the whole graph; for engines of this thread. */
  fused?: FusedGraph;
  manifest: Pick<Manifest, 'input' | 'ranges' | 'quantizer'>;
  /** Folder of the version, for engines that read the weights themselves, on another thread. */
  folder: string;
  readWeights(): Promise<Weights>;
  /** Corrections of biases at a precision, by its key; may be absent where the manifest knows of none. */
  readCorrections?(key: string): Promise<LayerCorrections>;
}

/**
 * The corrections that a variant's biases take; none at most precisions.
 * @throws ServiceError bad_model where the manifest speaks of some that cannot be read
 */
export async function correctionsOf(
  { manifest, readCorrections }: Pick<VariantSource, 'manifest' | 'readCorrections'>,
  precision: Precision,
): Promise<LayerCorrections> {
  if (!quantizerChoice(manifest.quantizer, precision).biasCorrection) return new Map();
  const key = precisionKey(precision);
  if (!readCorrections) throw new ServiceError('bad_model', `bias corrections: expected those of ${key}, found none`);
  return readCorrections(key);
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

/** How an engine takes runs. */
export interface EngineCapacity {
  /** Runs that it works on at the same time; others wait inside it. */
  runs: number;
  /** Whether one run of several instances is spread over all its threads. */
  spreads: boolean;
}

/** Runs plans, off the event loop. */
export interface Engine {
  readonly name: string;
  /** One run at a time where it is not said. */
  readonly capacity?: EngineCapacity;
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
