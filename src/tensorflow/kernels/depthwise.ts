/**
 * Gradients of DepthwiseConv2dNative, which the wasm backend lacks. NHWC, dilation 1, as the layers ask for (the cpu
 * backend silently ignores a dilation here); output channel = channel·multiplier + j.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import {
  backend_util,
  DepthwiseConv2dNativeBackpropFilter,
  DepthwiseConv2dNativeBackpropInput,
} from '@tensorflow/tfjs-core';
import type { ConvInfo } from './convolution.js';
import { replaceKernel, views } from './heap.js';

type Size = [number, number, number, number];

interface DepthwiseAttrs {
  strides: [number, number];
  pad: Parameters<typeof backend_util.computeConv2DInfo>[4];
  dilations: [number, number] | null;
  filterShape: Size;
  inputShape: Size;
}

function geometry(attrs: DepthwiseAttrs, inputShape: number[], filterShape: number[]): ConvInfo {
  const { strides, dilations, pad } = attrs;
  if (dilations?.some((d) => d !== 1)) {
    throw new Error(`wasm depthwise gradient: expected dilation 1, got ${dilations}`);
  }
  return backend_util.computeConv2DInfo(inputShape as Size, filterShape as Size, strides, 1, pad, undefined, true);
}

/** Calls `visit` for every output position and every kernel position of it inside the image, with element offsets. */
function sweep(info: ConvInfo, visit: (output: number, input: number, filter: number) => void): void {
  const { inHeight, inWidth, inChannels, outHeight, outWidth, outChannels, filterHeight, filterWidth } = info;
  for (let n = 0; n < info.batchSize; n++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const output = ((n * outHeight + oy) * outWidth + ox) * outChannels;
        for (let ky = 0; ky < filterHeight; ky++) {
          const iy = oy * info.strideHeight + ky - info.padInfo.top;
          if (iy < 0 || iy >= inHeight) continue;
          for (let kx = 0; kx < filterWidth; kx++) {
            const ix = ox * info.strideWidth + kx - info.padInfo.left;
            if (ix < 0 || ix >= inWidth) continue;
            visit(output, ((n * inHeight + iy) * inWidth + ix) * inChannels, (ky * filterWidth + kx) * outChannels);
          }
        }
      }
    }
  }
}

export function registerDepthwiseGradients(): void {
  replaceKernel(DepthwiseConv2dNativeBackpropFilter, ({ inputs, attrs, backend }): TensorInfo => {
    const { x, dy } = inputs;
    const shape = attrs.filterShape as Size;
    const info = geometry(attrs as unknown as DepthwiseAttrs, x.shape, shape);
    const multiplier = shape[3];
    const out = backend.makeOutput(shape, 'float32');
    const [image, gradient, dFilter] = views(backend, x, dy, out);
    // Sums over batch and positions are long: float64 keeps the small terms.
    const sums = new Float64Array(dFilter.length);
    sweep(info, (output, input, filter) => {
      for (let c = 0, k = 0; c < info.inChannels; c++) {
        const value = image[input + c];
        for (let j = 0; j < multiplier; j++, k++) sums[filter + k] += value * gradient[output + k];
      }
    });
    dFilter.set(sums);
    return out;
  });

  replaceKernel(DepthwiseConv2dNativeBackpropInput, ({ inputs, attrs, backend }): TensorInfo => {
    const { dy, filter } = inputs;
    const shape = attrs.inputShape as Size;
    const info = geometry(attrs as unknown as DepthwiseAttrs, shape, filter.shape);
    const multiplier = filter.shape[3];
    const out = backend.makeOutput(shape, 'float32');
    const [gradient, weights, dx] = views(backend, dy, filter, out);
    dx.fill(0);
    sweep(info, (output, input, at) => {
      for (let c = 0, k = 0; c < info.inChannels; c++) {
        let sum = 0;
        for (let j = 0; j < multiplier; j++, k++) sum += gradient[output + k] * weights[at + k];
        dx[input + c] += sum;
      }
    });
    return out;
  });
}
