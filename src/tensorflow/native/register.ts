import { registerConvolutions } from './convolution.js';
import { registerFused } from './fused.js';
import { registerLayers } from './layers.js';
import { type NativeKernelOptions, NativeKernels } from './trainer.js';

/**
 * Puts the addon's kernels before those of the wasm backend; to be called once, after those that close its gaps.
 * @returns the instruction set
 * @throws Error where the addon is not built or does not load; nothing is registered then
 */
export function registerNativeKernels(options: NativeKernelOptions): string {
  const native = new NativeKernels(options);
  registerConvolutions(native);
  registerLayers(native);
  registerFused(native);
  return native.isa;
}
