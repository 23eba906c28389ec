/** native/training/, as JavaScript sees it. */
import { availableParallelism } from 'node:os';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { loadAddon } from '../../addon.js';
import type { WasmBackend } from '../kernels/heap.js';

interface Trainer {
  readonly isa: string;
  readonly threads: number;
  run(name: string, heap: Uint8Array, words: Float64Array): void;
  /** Ends the threads. */
  close(): void;
}

interface TrainingLibrary {
  Trainer: new (threads: number, isa: string) => Trainer;
  /** Instruction sets that this build and this processor have, the fastest first. */
  trainingIsas(): string[];
}

/** @throws Error that says why not */
export function trainingLibrary(): TrainingLibrary {
  const library = loadAddon() as TrainingLibrary;
  if (library.Trainer === undefined) throw new Error('the addon is older than its source: npm run build:native');
  return library;
}

export interface NativeKernelOptions {
  /** 0: one for each core. */
  threads?: number;
  /** Instruction set; the environment's BITDIAL_ISA, or else the fastest. */
  isa?: string;
}

/** Operations of the addon on float32 tensors in the wasm backend's heap; each returns when it is done. */
export class NativeKernels {
  readonly isa: string;
  readonly #trainer: Trainer;

  /** @throws Error where the addon is not built or does not load */
  constructor({ threads = 0, isa = process.env.BITDIAL_ISA ?? '' }: NativeKernelOptions = {}) {
    const { Trainer } = trainingLibrary();
    this.#trainer = new Trainer(threads || availableParallelism(), isa);
    this.isa = this.#trainer.isa;
  }

  /** @param words what native/training/operations.cc reads for that operation; a tensor stands for its place */
  run(operation: string, backend: WasmBackend, ...words: (number | TensorInfo)[]): void {
    const numbers = Float64Array.from(words, (word) => (typeof word === 'number' ? word : placeOf(word, backend)));
    // An allocation may have grown the heap, and so moved it: it is asked for anew at every call.
    this.#trainer.run(operation, backend.wasm.HEAPU8, numbers);
  }

  close(): void {
    this.#trainer.close();
  }
}

/** Byte offset in the heap. The backend's allocator gives 0, and no error, where the 4 GiB of a wasm heap are used up. */
function placeOf({ dataId }: TensorInfo, backend: WasmBackend): number {
  const { memoryOffset } = backend.dataIdMap.get(dataId);
  if (memoryOffset === 0) throw new Error('wasm backend: out of memory; a smaller batch_size may help');
  return memoryOffset;
}
