/** Products, pools, and what works element by element. */
import {
  Add,
  BatchMatMul,
  backend_util,
  FusedBatchNorm,
  MaxPool,
  MaxPoolGrad,
  Relu,
  type TensorInfo,
  util,
} from '@tensorflow/tfjs-core';
import type { WasmBackend } from '../kernels/heap.js';
import { windowWords } from './convolution.js';
import { override } from './override.js';
import type { NativeKernels } from './trainer.js';

export function registerLayers(native: NativeKernels): void {
  registerProduct(native);
  registerMaxPool(native);
  registerElementwise(native);
}

function registerProduct(native: NativeKernels): void {
  override<{ transposeA: boolean; transposeB: boolean }>(BatchMatMul, ({ inputs: { a, b }, attrs, backend }) => {
    const { transposeA, transposeB } = attrs;
    const outer = a.shape.slice(0, -2);
    if ((transposeA && transposeB) || !util.arraysEqual(outer, b.shape.slice(0, -2))) return null;
    const [rowsA, columnsA] = a.shape.slice(-2);
    const [rowsB, columnsB] = b.shape.slice(-2);
    const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
    const [inner, n] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
    if (inner !== k) return null;
    const out = backend.makeOutput([...outer, m, n], 'float32');
    const flags = [Number(transposeA ?? false), Number(transposeB ?? false)];
    native.run('product', backend, util.sizeFromShape(outer), m, k, n, ...flags, a, b, out);
    return out;
  });
}

interface PoolAttrs {
  filterSize: [number, number] | number;
  strides: [number, number] | number;
  pad: Parameters<typeof backend_util.computePool2DInfo>[4];
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

function registerMaxPool(native: NativeKernels): void {
  const window = ({ shape }: TensorInfo, { filterSize, strides, pad, dimRoundingMode }: PoolAttrs) => {
    const size = shape as [number, number, number, number];
    const info = backend_util.computePool2DInfo(size, filterSize, strides, 1, pad, dimRoundingMode);
    return info.outHeight < 1 || info.outWidth < 1 ? null : info;
  };
  override<PoolAttrs>(MaxPool, ({ inputs: { x }, attrs, backend }) => {
    const info = window(x, attrs);
    if (info === null) return null;
    const out = backend.makeOutput(info.outShape, 'float32');
    native.run('max-pool', backend, ...windowWords(info), x, out);
    return out;
  });
  override<PoolAttrs>(MaxPoolGrad, ({ inputs: { dy, input }, attrs, backend }) => {
    const info = window(input, attrs);
    if (info === null) return null;
    const out = backend.makeOutput(input.shape, 'float32');
    native.run('max-pool-gradient', backend, ...windowWords(info), input, dy, out);
    return out;
  });
}

function registerElementwise(native: NativeKernels): void {
  override(Relu, ({ inputs: { x }, backend }) => {
    const out = backend.makeOutput(x.shape, 'float32');
    native.run('relu', backend, util.sizeFromShape(x.shape), Number.POSITIVE_INFINITY, x, out);
    return out;
  });
  override<{ varianceEpsilon: number }>(FusedBatchNorm, ({ inputs, attrs, backend }) => {
    const { x, mean, variance, offset, scale } = inputs;
    const channels = x.shape[x.shape.length - 1];
    const numbers = [mean, variance, scale, offset];
    if (numbers.some((info) => info === undefined || !util.arraysEqual(info.shape, [channels]))) return null;
    const out = backend.makeOutput(x.shape, 'float32');
    const pixels = util.sizeFromShape(x.shape) / channels;
    native.run('normalize', backend, pixels, channels, attrs.varianceEpsilon, x, ...numbers, out);
    return out;
  });
  override(Add, ({ inputs: { a, b }, backend }) => sum(native, backend, a, b));
}

/** Of equal shapes, or of pixels and one number for each channel. */
function sum(native: NativeKernels, backend: WasmBackend, a: TensorInfo, b: TensorInfo): TensorInfo | null {
  const size = util.sizeFromShape(a.shape);
  if (util.arraysEqual(a.shape, b.shape)) {
    const out = backend.makeOutput(a.shape, 'float32');
    native.run('add', backend, size, a, b, out);
    return out;
  }
  const channels = b.shape[0];
  if (b.shape.length !== 1 || a.shape.length === 0 || a.shape[a.shape.length - 1] !== channels) return null;
  const out = backend.makeOutput(a.shape, 'float32');
  native.run('add-channels', backend, size / channels, channels, a, b, out);
  return out;
}
