/** The operations of ../fused.ts in one piece each. */
import { type KernelConfig, registerKernel, type TensorInfo, util } from '@tensorflow/tfjs-core';
import {
  ABSOLUTE_SUM,
  ADD_SIGN,
  BATCH_NORM_TRAINING,
  BATCH_NORM_TRAINING_GRAD,
  BOUNDED_RELU,
  CHANNEL_SUMS,
  FAKE_QUANTIZE,
  FAKE_QUANTIZE_GRAD,
  RELU_GRAD,
  SQUARE_SUM,
} from '../fused.js';
import type { WasmBackend } from '../kernels/heap.js';
import type { NativeKernels } from './trainer.js';

type Inputs = Record<string, TensorInfo>;
type Run = (native: NativeKernels, inputs: Inputs, attrs: Record<string, number>, backend: WasmBackend) => TensorInfo[];

const KERNELS: Record<string, Run> = {
  [BATCH_NORM_TRAINING](native, { x, gamma, beta }, { epsilon }, backend) {
    const [pixels, channels] = flat(x);
    const y = backend.makeOutput(x.shape, 'float32');
    const [mean, variance] = numbers(backend, channels, 2);
    native.run('batch-norm', backend, pixels, channels, epsilon, x, gamma, beta, y, mean, variance);
    return [y, mean, variance];
  },
  [BATCH_NORM_TRAINING_GRAD](native, { dy, x, gamma, mean, variance }, { epsilon }, backend) {
    const [pixels, channels] = flat(x);
    const dx = backend.makeOutput(x.shape, 'float32');
    const outputs = [dx, ...numbers(backend, channels, 2)];
    native.run('batch-norm-gradient', backend, pixels, channels, epsilon, dy, x, gamma, mean, variance, ...outputs);
    return outputs;
  },
  [BOUNDED_RELU](native, { x }, { top }, backend) {
    const y = backend.makeOutput(x.shape, 'float32');
    native.run('relu', backend, util.sizeFromShape(x.shape), top, x, y);
    return [y];
  },
  [RELU_GRAD](native, { dy, y }, { top }, backend) {
    const dx = backend.makeOutput(y.shape, 'float32');
    native.run('relu-gradient', backend, util.sizeFromShape(y.shape), top, dy, y, dx);
    return [dx];
  },
  [CHANNEL_SUMS](native, { x }, _, backend) {
    const [pixels, channels] = flat(x);
    const [sums] = numbers(backend, channels, 1);
    native.run('channel-sums', backend, pixels, channels, x, sums);
    return [sums];
  },
  [ABSOLUTE_SUM]: (native, { x }, _, backend) => scalar(native, 'absolute-sum', x, backend),
  [SQUARE_SUM]: (native, { x }, _, backend) => scalar(native, 'square-sum', x, backend),
  [ADD_SIGN](native, { x, g }, { step }, backend) {
    const out = backend.makeOutput(x.shape, 'float32');
    native.run('add-sign', backend, util.sizeFromShape(x.shape), step, x, g, out);
    return [out];
  },
  [FAKE_QUANTIZE](native, { x }, { low, high, bits }, backend) {
    const y = backend.makeOutput(x.shape, 'float32');
    const scale = (high - low) / (2 ** bits - 1);
    native.run('fake-quantize', backend, util.sizeFromShape(x.shape), low, high, scale, x, y);
    return [y];
  },
  [FAKE_QUANTIZE_GRAD](native, { dy, x }, { low, high }, backend) {
    const dx = backend.makeOutput(x.shape, 'float32');
    native.run('fake-quantize-gradient', backend, util.sizeFromShape(x.shape), low, high, dy, x, dx);
    return [dx];
  },
};

function scalar(native: NativeKernels, operation: string, x: TensorInfo, backend: WasmBackend): TensorInfo[] {
  const sum = backend.makeOutput([], 'float32');
  native.run(operation, backend, util.sizeFromShape(x.shape), x, sum);
  return [sum];
}

function flat({ shape }: TensorInfo): [number, number] {
  const channels = shape[shape.length - 1];
  return [util.sizeFromShape(shape) / channels, channels];
}

function numbers(backend: WasmBackend, channels: number, count: number): TensorInfo[] {
  return Array.from({ length: count }, () => backend.makeOutput([channels], 'float32'));
}

export function registerFused(native: NativeKernels): void {
  for (const [kernelName, run] of Object.entries(KERNELS)) {
    const kernelFunc = ({ inputs, attrs, backend }: { inputs: Inputs; attrs: unknown; backend: WasmBackend }) =>
      run(native, inputs, (attrs ?? {}) as Record<string, number>, backend);
    registerKernel({ kernelName, backendName: 'wasm', kernelFunc } as unknown as KernelConfig);
  }
}
