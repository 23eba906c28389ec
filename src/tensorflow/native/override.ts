import type { TensorInfo } from '@tensorflow/tfjs-core';
import { util } from '@tensorflow/tfjs-core';
import { replaceKernel, stockKernel, type WasmBackend } from '../kernels/heap.js';

interface Call<Attrs> {
  inputs: Record<string, TensorInfo>;
  attrs: Attrs;
  backend: WasmBackend;
}

/** Gives null for a call that it is not made for: what was there before then does it. */
export type NativeKernel<Attrs> = (call: Call<Attrs>) => TensorInfo | null;

/** Puts a kernel before the one that the backend has; it only sees float32 tensors with something in them. */
export function override<Attrs>(kernelName: string, kernel: NativeKernel<Attrs>): void {
  const plain = stockKernel(kernelName);
  replaceKernel(kernelName, (call) => {
    const given = Object.values(call.inputs).filter((info) => info !== undefined && info !== null);
    const fits = given.every(({ dtype, shape }) => dtype === 'float32' && util.sizeFromShape(shape) > 0);
    return (fits ? kernel(call as unknown as Call<Attrs>) : null) ?? plain(call);
  });
}
