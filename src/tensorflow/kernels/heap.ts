/** What the kernels here need of the wasm backend's heap. */
import type { DataId, DataType, KernelConfig, TensorInfo } from '@tensorflow/tfjs-core';
import { getKernel, registerKernel, unregisterKernel } from '@tensorflow/tfjs-core';

export interface WasmBackend {
  wasm: { HEAPU8: Uint8Array; _malloc(bytes: number): number; _free(place: number): void };
  dataIdMap: { get(dataId: DataId): { id: number; memoryOffset: number } };
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  typedArrayFromHeap(info: TensorInfo): Float32Array;
  disposeData(dataId: DataId, force?: boolean): boolean;
}

/** Addresses are 32 bits. */
const HEAP_BYTES = 2 ** 32;

/**
 * Makes an allocation that fails an error. The backend takes the 0 that it gets for a place, and whatever is computed from
 * then on is written over and over itself.
 */
export function refuseExhaustion({ wasm }: Pick<WasmBackend, 'wasm'>): void {
  // Emscripten's first call puts another function in its own place.
  wasm._free(wasm._malloc(1));
  const allocate = wasm._malloc;
  wasm._malloc = (bytes) => {
    const place = bytes < HEAP_BYTES ? allocate(bytes) : 0;
    if (place === 0) throw new Error('wasm backend: out of memory; a smaller batch_size may help');
    return place;
  };
}

/**
 * Views of float32 tensors on the wasm heap. An allocation can grow the heap, which detaches every view of it: allocate
 * all outputs first, then take the views, in one call.
 */
export function views<T extends readonly TensorInfo[]>(backend: WasmBackend, ...infos: T): Float32Array[] {
  for (const { dtype } of infos) {
    if (dtype !== 'float32') throw new Error(`wasm kernel: expected float32 tensors, got ${dtype}`);
  }
  return infos.map((info) => backend.typedArrayFromHeap(info));
}

/** A kernel's function: what TF.js calls, less what it never gives here. */
export type WasmKernel = (args: {
  inputs: Record<string, TensorInfo>;
  attrs: Record<string, unknown>;
  backend: WasmBackend;
}) => TensorInfo;

/** Puts `kernel` in the place of what the wasm backend has under that name, if it has anything. */
export function replaceKernel(kernelName: string, kernel: WasmKernel): void {
  if (getKernel(kernelName, 'wasm')) unregisterKernel(kernelName, 'wasm');
  registerKernel({ kernelName, backendName: 'wasm', kernelFunc: kernel } as unknown as KernelConfig);
}

/** The wasm backend's own kernel, to build on; its set-up has run since the backend is up. */
export function stockKernel(kernelName: string): WasmKernel {
  const config = getKernel(kernelName, 'wasm');
  if (!config) throw new Error(`wasm kernel: the backend has no ${kernelName}`);
  return config.kernelFunc as unknown as WasmKernel;
}

/** Frees intermediate tensors that no engine scope knows. */
export function free(backend: WasmBackend, ...infos: TensorInfo[]): void {
  for (const { dataId } of infos) backend.disposeData(dataId);
}

/** The same data under another shape; nothing is copied. */
export function reshaped(info: TensorInfo, shape: number[]): TensorInfo {
  return { dataId: info.dataId, dtype: info.dtype, shape };
}
