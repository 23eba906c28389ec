/**
 * The wasm backend multiplies by XNNPACK only where neither operand is transposed; otherwise by a plain loop, many
 * times slower. Gradients of a dense layer are all transposed, so here the operand is transposed first.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { BatchMatMul, Transpose } from '@tensorflow/tfjs-core';
import { free, replaceKernel, stockKernel, type WasmBackend } from './heap.js';

export function registerMatMul(): void {
  const multiply = stockKernel(BatchMatMul);
  const transpose = stockKernel(Transpose);

  const swapLast = (x: TensorInfo, backend: WasmBackend): TensorInfo => {
    const perm = x.shape.map((_, i) => i);
    const last = perm.length - 1;
    [perm[last - 1], perm[last]] = [perm[last], perm[last - 1]];
    return transpose({ inputs: { x }, attrs: { perm }, backend });
  };

  replaceKernel(BatchMatMul, ({ inputs, attrs, backend }) => {
    const { transposeA, transposeB } = attrs as { transposeA: boolean; transposeB: boolean };
    const a = transposeA ? swapLast(inputs.a, backend) : inputs.a;
    const b = transposeB ? swapLast(inputs.b, backend) : inputs.b;
    const out = multiply({ inputs: { a, b }, attrs: { transposeA: false, transposeB: false }, backend });
    if (transposeA) free(backend, a);
    if (transposeB) free(backend, b);
    return out;
  });
}
