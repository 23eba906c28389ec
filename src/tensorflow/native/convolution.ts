/** Convolutions and their gradients, NHWC, dilation 1. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import {
  backend_util,
  Conv2D,
  Conv2DBackpropFilter,
  Conv2DBackpropInput,
  DepthwiseConv2dNative,
  DepthwiseConv2dNativeBackpropFilter,
  DepthwiseConv2dNativeBackpropInput,
} from '@tensorflow/tfjs-core';
import type { WasmBackend } from '../kernels/heap.js';
import { override } from './override.js';
import type { NativeKernels } from './trainer.js';

type Size = [number, number, number, number];

interface ConvAttrs {
  strides: [number, number] | number;
  pad: Parameters<typeof backend_util.computeConv2DInfo>[4];
  dilations?: [number, number] | number | null;
  dataFormat?: string;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
  inputShape: Size;
  filterShape: Size;
}

export type Window = Pick<
  backend_util.Conv2DInfo,
  | 'batchSize'
  | 'inHeight'
  | 'inWidth'
  | 'inChannels'
  | 'outHeight'
  | 'outWidth'
  | 'outChannels'
  | 'filterHeight'
  | 'filterWidth'
  | 'strideHeight'
  | 'strideWidth'
  | 'padInfo'
>;

/** A convolution or a pool in the addon's words. */
export function windowWords(w: Window): number[] {
  const sizes = [w.batchSize, w.inHeight, w.inWidth, w.inChannels, w.outHeight, w.outWidth, w.outChannels];
  return [...sizes, w.filterHeight, w.filterWidth, w.strideHeight, w.strideWidth, w.padInfo.top, w.padInfo.left];
}

/** Null for what the addon has not. */
function geometry(attrs: ConvAttrs, x: number[], filter: number[], depthwise: boolean): backend_util.Conv2DInfo | null {
  const { strides, pad, dilations, dataFormat, dimRoundingMode } = attrs;
  if (dataFormat === 'NCHW' || [dilations ?? 1].flat().some((d) => d !== 1)) return null;
  const info = backend_util.computeConv2DInfo(x as Size, filter as Size, strides, 1, pad, dimRoundingMode, depthwise);
  const several = depthwise ? filter[3] !== 1 : info.inChannels !== filter[2];
  return several || info.outHeight < 1 || info.outWidth < 1 ? null : info;
}

/** The three passes of a kind of convolution: x·w, dy·w and x·dy. */
function registerPasses(native: NativeKernels, operation: string, names: [string, string, string], depthwise: boolean) {
  const [forward, toInput, toFilter] = names;
  const run = (
    pass: string,
    backend: WasmBackend,
    info: backend_util.Conv2DInfo,
    inputs: TensorInfo[],
    shape: number[],
  ) => {
    const out = backend.makeOutput(shape, 'float32');
    native.run(`${operation}${pass}`, backend, ...windowWords(info), ...inputs, out);
    return out;
  };
  override<ConvAttrs>(forward, ({ inputs: { x, filter }, attrs, backend }) => {
    const info = geometry(attrs, x.shape, filter.shape, depthwise);
    return info && run('', backend, info, [x, filter], info.outShape);
  });
  override<ConvAttrs>(toInput, ({ inputs: { dy, filter }, attrs, backend }) => {
    const info = geometry(attrs, attrs.inputShape, filter.shape, depthwise);
    return info && run('-input-gradient', backend, info, [dy, filter], attrs.inputShape);
  });
  override<ConvAttrs>(toFilter, ({ inputs: { x, dy }, attrs, backend }) => {
    const info = geometry(attrs, x.shape, attrs.filterShape, depthwise);
    return info && run('-filter-gradient', backend, info, [x, dy], attrs.filterShape);
  });
}

export function registerConvolutions(native: NativeKernels): void {
  registerPasses(native, 'convolution', [Conv2D, Conv2DBackpropInput, Conv2DBackpropFilter], false);
  const depthwise: [string, string, string] = [
    DepthwiseConv2dNative,
    DepthwiseConv2dNativeBackpropInput,
    DepthwiseConv2dNativeBackpropFilter,
  ];
  registerPasses(native, 'depthwise', depthwise, true);
}
