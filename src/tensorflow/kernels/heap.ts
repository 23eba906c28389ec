/** What the kernels here need of the wasm backend's heap. */
import type { DataId, DataType, KernelConfig, TensorInfo } from '@tensorflow/tfjs-core';
import { getKernel, registerKernel, unregisterKernel } from '@tensorflow/tfjs-core';

export interface WasmBackend {
  wasm: { HEAPU8: Uint8Array };
  dataIdMap: { get(dataId: DataId): { id: number; memoryOffset: number } };
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  typedArrayFromHeap(info: TensorInfo): Float32Array;
  disposeData(dataId: DataId, force?: boolean): boolean;
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
