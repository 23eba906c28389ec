import { registerConvolutionGradients } from './convolution.js';
import { registerDepthwiseGradients } from './depthwise.js';
import { registerMatMul } from './matmul.js';
import { registerPoolGradients } from './pooling.js';

let done = false;

/** Closes the wasm backend's gaps; to be called once the backend is up. */
export function registerWasmKernels(): void {
  if (done) return;
  done = true;
  // The filter gradient builds on the stock product, so the order does not matter.
  registerConvolutionGradients();
  registerMatMul();
  registerDepthwiseGradients();
  registerPoolGradients();
}
