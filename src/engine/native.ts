import { availableParallelism } from 'node:os';
import { ServiceError } from '../errors.js';
import { fuseGraph } from '../quantize/fuse.js';
import type { Precision } from '../quantize/precision.js';
import {
  correctionsOf,
  type Engine,
  type EngineCapacity,
  type RunResult,
  type Variant,
  type VariantSource,
} from './engine.js';
import { loadLibrary, type NativePool, type NativeSource, type WinogradUse } from './native-library.js';
import { type Description, describe } from './native-plan.js';
import { heldWeights, mappedWeights, type NativeWeights } from './native-weights.js';

export interface NativeOptions {
  /** 0: one for each core. */
  threads?: number;
  /** Instruction set, as {@link NativeLibrary.isas} names them; the environment's BITDIAL_ISA, or else the fastest. */
  isa?: string;
  /** Answers are the same; for tests and benchmarks. */
  winograd?: WinogradUse;
}

interface NativeVariant extends Variant {
  id: number;
}

/**
 * The fast engine: native/ builds variants and runs them on a thread pool of its own. Results are those of the reference
 * engine, bit for bit for integer plans. Nothing of a variant is resident here but what `memoryBytes` says.
 */
export class NativeEngine implements Engine {
  readonly name: string;
  /** One computes on all threads, and the next is there when it ends. */
  readonly capacity: EngineCapacity = { runs: 2, spreads: true };
  readonly #pool: NativePool;
  #closed = false;

  private constructor(pool: NativePool) {
    this.#pool = pool;
    this.name = `native-${pool.isa}`;
  }

  /** @throws Error where the addon is not built or does not load, or has no such instruction set */
  static async create({ threads = 0, isa, winograd = 'where-it-pays' }: NativeOptions = {}): Promise<NativeEngine> {
    const { Engine: Pool } = loadLibrary();
    const isaName = isa ?? process.env.BITDIAL_ISA ?? '';
    return new NativeEngine(new Pool(threads || availableParallelism(), isaName, winograd));
  }

  async build(source: VariantSource, precision: Precision): Promise<Variant> {
    this.#checkOpen();
    const began = performance.now();
    const corrections = await correctionsOf(source, precision);
    const fused = source.fused ?? fuseGraph(source.graph);
    const description = describe(fused, source.manifest, precision, corrections);
    const weights = (await mappedWeights(source.folder)) ?? heldWeights(await source.readWeights());
    this.#checkOpen();
    const { id, bytes } = await this.#submit(description, weights);
    const { plan } = description;
    const buildMs = performance.now() - began;
    const variant: NativeVariant = { plan, precision, memoryBytes: bytes, buildMs, engine: this.name, id };
    return variant;
  }

  async run(variant: Variant, input: Float32Array, batch: number): Promise<RunResult> {
    this.#checkOpen();
    return this.#pool.run((variant as NativeVariant).id, input, batch);
  }

  release(variant: Variant): void {
    this.#pool.release((variant as NativeVariant).id);
  }

  /** Waits for what runs, then ends the threads. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#pool.idle();
    this.#pool.close();
  }

  /** For tests: what the variant holds for an op. */
  inspect(variant: Variant, op: number, images = 1) {
    return this.#pool.inspect((variant as NativeVariant).id, op, images);
  }

  async #submit({ words, sources, corrections, layers }: Description, weights: NativeWeights) {
    const found = sources.map((name): NativeSource => {
      const at = weights.get(name);
      if (!at) throw new ServiceError('bad_model', `weights: expected a tensor named ${name}, found none`);
      return at;
    });
    try {
      return await this.#pool.build(words, [...found, ...corrections], weights.path);
    } catch (error) {
      const { op, message } = error as Error & { op?: number };
      if (op === undefined) throw error;
      throw new ServiceError('bad_model', `${layers[op]}: ${message}`);
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the engine is closed');
  }
}
