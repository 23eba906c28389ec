import type { Window } from '../quantize/geometry.js';
import type { PlanTensor } from '../quantize/plan.js';

type Elements = Uint8Array | Float32Array;

/**
 * im2col of one image: row m holds the window of output pixel m, columns in the order (ky, kx, channel).
 * @param image height × width × channels
 * @param pad what stands outside the image
 * @param out (output height · output width) × (kernel height · kernel width · channels)
 */
export function gatherPatches<T extends Elements>(
  image: T,
  input: PlanTensor,
  output: PlanTensor,
  window: Window,
  pad: number,
  out: T,
): void {
  const { height, width, channels } = input;
  let at = 0;
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let ky = 0; ky < window.kernelHeight; ky++) {
        const y = oy * window.strideHeight - window.padTop + ky * window.dilationHeight;
        for (let kx = 0; kx < window.kernelWidth; kx++) {
          const x = ox * window.strideWidth - window.padLeft + kx * window.dilationWidth;
          if (y < 0 || y >= height || x < 0 || x >= width) {
            out.fill(pad as never, at, at + channels);
          } else {
            const from = (y * width + x) * channels;
            for (let c = 0; c < channels; c++) out[at + c] = image[from + c];
          }
          at += channels;
        }
      }
    }
  }
}

/** True where the patches are the image itself: a 1×1 window that moves by one. */
export function isPointwise(w: Window): boolean {
  return w.kernelHeight * w.kernelWidth * w.strideHeight * w.strideWidth === 1;
}

/** Calls `visit(m, offset of the first channel)` for every position of a window that lies in the image. */
export function eachPosition(
  input: PlanTensor,
  window: Window,
  oy: number,
  ox: number,
  visit: (kernelIndex: number, offset: number) => void,
): void {
  for (let ky = 0; ky < window.kernelHeight; ky++) {
    const y = oy * window.strideHeight - window.padTop + ky * window.dilationHeight;
    if (y < 0 || y >= input.height) continue;
    for (let kx = 0; kx < window.kernelWidth; kx++) {
      const x = ox * window.strideWidth - window.padLeft + kx * window.dilationWidth;
      if (x < 0 || x >= input.width) continue;
      visit(ky * window.kernelWidth + kx, (y * input.width + x) * input.channels);
    }
  }
}
