import { loadAddon } from '../addon.js';

/** native/addon.cc, as JavaScript sees it. */
export interface NativeLibrary {
  Engine: new (threads: number, isa: string, winograd?: WinogradUse) => NativePool;
  /** Instruction sets that this build and this processor have, the fastest first. */
  isas(): string[];
  /** Bytes that all plans of the process hold. */
  planBytes(): number;
}

/**
 * When 3×3 convolutions go the Winograd way: where a guess of the time says so; or, for tests, wherever it is exact (of bytes,
 * or in large squares), or not at all.
 */
export type WinogradUse = 'where-it-pays' | 'always' | 'always-large' | 'never';

/** Floats in memory, or a stretch of the file: byte offset, and length in numbers. */
export type NativeSource = Float32Array | [number, number];

/** The thread pool and the plans it runs. */
export interface NativePool {
  readonly isa: string;
  readonly threads: number;
  /** @param path file that the stretches among the sources mean; empty where there are none */
  build(words: Float64Array, sources: NativeSource[], path: string): Promise<{ id: number; bytes: number; ms: number }>;
  run(id: number, input: Float32Array, batch: number): Promise<NativeResult>;
  release(id: number): void;
  /** Kept as soon as nothing is being built or run. */
  idle(): Promise<void>;
  /**
   * What a plan holds for an op: codes or values [row, column], bias, multipliers or scales; for tests.
   * @param images that run together; 1 where it is not given
   */
  inspect(id: number, op: number, images?: number): Inspection;
  close(): void;
}

export interface Inspection {
  weights: Float32Array;
  bias: Float32Array;
  scales: Float32Array;
  /** Blocks of 16 rows for which the Winograd way is exact in squares, and those for which it is along rows only. */
  winogradBlocks: number;
  winogradRowBlocks: number;
  /** Those for which it is exact in large squares, of 16 bits. */
  winogradLargeBlocks: number;
  /** Those that do go these ways when so many images run together. */
  winogradTaken: { square: number; row: number; large: number };
}

export interface NativeResult {
  logits: Float32Array;
  queueMs: number;
  computeMs: number;
}

/**
 * Loads the addon.
 * @throws Error that says why not, in one line
 */
export function loadLibrary(): NativeLibrary {
  return loadAddon() as NativeLibrary;
}
