/**
 * The gradient of MaxPool on the wasm backend, whose own starts its search at 0 and so gives nothing to a window
 * without a positive value. NHWC. Of equal values the first, row by row, takes the gradient, as in the cpu backend.
 */
import { backend_util, MaxPoolGrad } from '@tensorflow/tfjs-core';
import { replaceKernel, views } from './heap.js';

interface PoolAttrs {
  filterSize: [number, number];
  strides: [number, number];
  pad: Parameters<typeof backend_util.computePool2DInfo>[4];
}

export function registerPoolGradients(): void {
  replaceKernel(MaxPoolGrad, ({ inputs, attrs, backend }) => {
    const { dy, input } = inputs;
    const { filterSize, strides, pad } = attrs as unknown as PoolAttrs;
    const info = backend_util.computePool2DInfo(
      input.shape as [number, number, number, number],
      filterSize,
      strides,
      1,
      pad,
    );
    const { inHeight, inWidth, inChannels: channels, outHeight, outWidth, filterHeight, filterWidth } = info;
    const out = backend.makeOutput(input.shape, 'float32');
    const [x, gradient, dx] = views(backend, input, dy, out);
    dx.fill(0);
    for (let n = 0; n < info.batchSize; n++) {
      for (let oy = 0; oy < outHeight; oy++) {
        const y0 = oy * info.strideHeight - info.padInfo.top;
        const yEnd = Math.min(y0 + filterHeight, inHeight);
        for (let ox = 0; ox < outWidth; ox++) {
          const x0 = ox * info.strideWidth - info.padInfo.left;
          const xEnd = Math.min(x0 + filterWidth, inWidth);
          const target = ((n * outHeight + oy) * outWidth + ox) * channels;
          for (let c = 0; c < channels; c++) {
            let best = -1;
            let largest = Number.NEGATIVE_INFINITY;
            for (let iy = Math.max(y0, 0); iy < yEnd; iy++) {
              for (let ix = Math.max(x0, 0); ix < xEnd; ix++) {
                const at = ((n * inHeight + iy) * inWidth + ix) * channels + c;
                if (best < 0 || x[at] > largest) {
                  best = at;
                  largest = x[at];
                }
              }
            }
            if (best >= 0) dx[best] += gradient[target + c];
          }
        }
      }
    }
    return out;
  });
}
