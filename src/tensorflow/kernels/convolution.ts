/**
 * Gradients of Conv2D on the wasm backend, NHWC, dilation 1. The filter gradient is missing there; the input gradient
 * is a plain loop. Both are rewritten as what XNNPACK does fast: a matrix product and a convolution.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { BatchMatMul, backend_util, Conv2D, Conv2DBackpropFilter, Conv2DBackpropInput } from '@tensorflow/tfjs-core';
import { free, replaceKernel, reshaped, stockKernel, views, type WasmBackend, type WasmKernel } from './heap.js';

export type ConvInfo = ReturnType<typeof backend_util.computeConv2DInfo>;
type Pad = Parameters<typeof backend_util.computeConv2DInfo>[4];
type Size = [number, number, number, number];

interface ConvAttrs {
  strides: [number, number];
  pad: Pad;
  dataFormat?: string;
  inputShape: Size;
  filterShape: Size;
}

function geometry(attrs: ConvAttrs, inputShape: Size, filterShape: Size): ConvInfo {
  if (attrs.dataFormat === 'NCHW') throw new Error('wasm convolution gradient: expected NHWC tensors, got NCHW');
  return backend_util.computeConv2DInfo(inputShape, filterShape, attrs.strides, 1, attrs.pad);
}

/**
 * Patches of x as a matrix [kh·kw·cin, batch·oh·ow]: row (ky, kx, c), column (n, oy, ox); 0 where a window is outside.
 * It is the transposed im2col, so that the filter gradient is a product without transposes.
 */
function patches(x: TensorInfo, info: ConvInfo, backend: WasmBackend): TensorInfo {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, filterHeight, filterWidth } = info;
  const { strideHeight, strideWidth, padInfo } = info;
  const columns = batchSize * outHeight * outWidth;
  const out = backend.makeOutput([filterHeight * filterWidth * inChannels, columns], 'float32');
  const [from, to] = views(backend, x, out);
  to.fill(0);
  for (let ky = 0; ky < filterHeight; ky++) {
    for (let kx = 0; kx < filterWidth; kx++) {
      // The output columns whose window has this kernel position inside the image.
      const first = Math.max(0, Math.ceil((padInfo.left - kx) / strideWidth));
      const end = Math.min(outWidth, Math.floor((inWidth - 1 + padInfo.left - kx) / strideWidth) + 1);
      for (let c = 0; c < inChannels; c++) {
        const row = ((ky * filterWidth + kx) * inChannels + c) * columns;
        for (let n = 0; n < batchSize; n++) {
          for (let oy = 0; oy < outHeight; oy++) {
            const iy = oy * strideHeight + ky - padInfo.top;
            if (iy < 0 || iy >= inHeight) continue;
            let source = ((n * inHeight + iy) * inWidth + first * strideWidth + kx - padInfo.left) * inChannels + c;
            const target = row + (n * outHeight + oy) * outWidth;
            for (let ox = first; ox < end; ox++) {
              to[target + ox] = from[source];
              source += strideWidth * inChannels;
            }
          }
        }
      }
    }
  }
  return out;
}

function filterGradient(multiply: WasmKernel): WasmKernel {
  return ({ inputs, attrs, backend }) => {
    const { x, dy } = inputs;
    const { filterShape, ...rest } = attrs as unknown as ConvAttrs;
    const info = geometry({ filterShape, ...rest }, x.shape as Size, filterShape);
    const columns = patches(x, info, backend);
    const a = reshaped(columns, [1, ...columns.shape]);
    const b = reshaped(dy, [1, columns.shape[1], info.outChannels]);
    const out = multiply({ inputs: { a, b }, attrs: { transposeA: false, transposeB: false }, backend });
    free(backend, columns);
    return reshaped(out, filterShape);
  };
}

/** The kernel turned by 180° with its channels swapped: [kh, kw, cout, cin]. */
function turned(filter: TensorInfo, backend: WasmBackend): TensorInfo {
  const [kh, kw, cin, cout] = filter.shape;
  const out = backend.makeOutput([kh, kw, cout, cin], 'float32');
  const [from, to] = views(backend, filter, out);
  for (let position = 0; position < kh * kw; position++) {
    const source = position * cin * cout;
    const target = (kh * kw - 1 - position) * cin * cout;
    for (let i = 0; i < cin; i++) {
      for (let o = 0; o < cout; o++) to[target + o * cin + i] = from[source + i * cout + o];
    }
  }
  return out;
}

/**
 * dy with stride − 1 zeros between its elements, and a border such that a valid convolution of it has the input's size.
 * A border below zero (padding wider than the kernel's reach) crops instead.
 */
function spread(dy: TensorInfo, info: ConvInfo, backend: WasmBackend): TensorInfo {
  const { batchSize, inHeight, inWidth, outHeight, outWidth, outChannels, filterHeight, filterWidth } = info;
  const top = filterHeight - 1 - info.padInfo.top;
  const left = filterWidth - 1 - info.padInfo.left;
  const height = inHeight + filterHeight - 1;
  const width = inWidth + filterWidth - 1;
  const out = backend.makeOutput([batchSize, height, width, outChannels], 'float32');
  const [from, to] = views(backend, dy, out);
  to.fill(0);
  for (let n = 0; n < batchSize; n++) {
    for (let oy = 0; oy < outHeight; oy++) {
      const y = oy * info.strideHeight + top;
      if (y < 0 || y >= height) continue;
      for (let ox = 0; ox < outWidth; ox++) {
        const x = ox * info.strideWidth + left;
        if (x < 0 || x >= width) continue;
        const source = ((n * outHeight + oy) * outWidth + ox) * outChannels;
        const target = ((n * height + y) * width + x) * outChannels;
        for (let c = 0; c < outChannels; c++) to[target + c] = from[source + c];
      }
    }
  }
  return out;
}

function inputGradient(convolve: WasmKernel): WasmKernel {
  return ({ inputs, attrs, backend }) => {
    const { dy, filter } = inputs;
    const { inputShape, ...rest } = attrs as unknown as ConvAttrs;
    const info = geometry({ inputShape, ...rest }, inputShape, filter.shape as Size);
    const kernel = turned(filter, backend);
    const x = spread(dy, info, backend);
    const out = convolve({
      inputs: { x, filter: kernel },
      attrs: { strides: [1, 1], pad: 'valid', dataFormat: 'NHWC', dilations: [1, 1] },
      backend,
    });
    free(backend, kernel, x);
    return out;
  };
}

export function registerConvolutionGradients(): void {
  replaceKernel(Conv2DBackpropFilter, filterGradient(stockKernel(BatchMatMul)));
  replaceKernel(Conv2DBackpropInput, inputGradient(stockKernel(Conv2D)));
}
