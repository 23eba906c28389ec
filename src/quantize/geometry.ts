import type { Pair } from '../model/graph.js';
import type { FusedGraph, FusedOp } from './fuse.js';

/** Window of an op over its input, padding resolved; the whole image for a global pool. */
export interface Window {
  kernelHeight: number;
  kernelWidth: number;
  strideHeight: number;
  strideWidth: number;
  dilationHeight: number;
  dilationWidth: number;
  padTop: number;
  padLeft: number;
}

/** Size of an op that follows from the topology alone. */
export interface Geometry {
  window: Window;
  /** Of its weights; 0 × 0 for an op without. */
  rows: number;
  columns: number;
  /** Multiply-accumulates of one inference. */
  macs: number;
}

/** Padding before an axis, as TensorFlow computes it: the odd one of `same` goes behind. */
function padBefore(size: number, kernel: number, stride: number, dilation: number, padding: 'same' | 'valid'): number {
  if (padding === 'valid') return 0;
  const extent = (kernel - 1) * dilation + 1;
  return Math.floor(Math.max((Math.ceil(size / stride) - 1) * stride + extent - size, 0) / 2);
}

function windowOf(node: FusedOp['node'], height: number, width: number): Window {
  let kernel: Pair = [1, 1];
  let strides: Pair = [1, 1];
  let dilation: Pair = [1, 1];
  let padding: 'same' | 'valid' = 'valid';
  if (node.op === 'conv2d' || node.op === 'depthwise_conv2d') {
    ({ kernelSize: kernel, strides, dilation, padding } = node);
  } else if (node.op === 'max_pool' || node.op === 'avg_pool') {
    ({ poolSize: kernel, strides, padding } = node);
  } else if (node.op === 'global_avg_pool') {
    kernel = [height, width];
  }
  return {
    kernelHeight: kernel[0],
    kernelWidth: kernel[1],
    strideHeight: strides[0],
    strideWidth: strides[1],
    dilationHeight: dilation[0],
    dilationWidth: dilation[1],
    padTop: padBefore(height, kernel[0], strides[0], dilation[0], padding),
    padLeft: padBefore(width, kernel[1], strides[1], dilation[1], padding),
  };
}

/** Window, weight matrix and work of an op. */
export function geometryOf(op: FusedOp, graph: FusedGraph): Geometry {
  const [height, width, channels] = dims(graph, op.inputs[0]);
  const [outHeight, outWidth, outChannels] = dims(graph, op.output);
  const window = windowOf(op.node, height, width);
  if (op.kind === 'other') return { window, rows: 0, columns: 0, macs: 0 };
  let columns = window.kernelHeight * window.kernelWidth;
  if (op.node.op === 'conv2d') columns *= channels;
  else if (op.node.op === 'dense') columns = height * width * channels;
  return { window, rows: outChannels, columns, macs: outHeight * outWidth * outChannels * columns };
}

/** Share of a window's positions, over all places that it takes, that lie within the image and not in its padding. */
export function validShare(window: Window, [height, width]: number[], [outHeight, outWidth]: number[]): number {
  const { kernelHeight, kernelWidth, strideHeight, strideWidth, dilationHeight, dilationWidth } = window;
  const along = (size: number, out: number, kernel: number, stride: number, dilation: number, before: number) => {
    let valid = 0;
    for (let o = 0; o < out; o++) {
      for (let k = 0; k < kernel; k++) {
        const at = o * stride - before + k * dilation;
        if (at >= 0 && at < size) valid++;
      }
    }
    return valid / (out * kernel);
  };
  return (
    along(height, outHeight, kernelHeight, strideHeight, dilationHeight, window.padTop) *
    along(width, outWidth, kernelWidth, strideWidth, dilationWidth, window.padLeft)
  );
}

/** [height, width, channels] of a tensor of the graph. */
export function dims(graph: FusedGraph, name: string): [number, number, number] {
  const tensor = graph.tensors.get(name);
  if (!tensor) throw new Error(`graph: no tensor ${name}`);
  return tensor.dims;
}
