import type { Window } from './geometry.js';
import type { Precision } from './precision.js';

/**
 * A plan is a version at one precision, ready to run: a list of ops over tensors, and one arena that holds every packed
 * code, scale, multiplier and bias. docs/ARITHMETIC.md says what each op computes, with every rounding; an engine has to
 * give those bits. A plan is plain data: it can be posted to another thread, which shares the arena.
 */
export interface Plan {
  precision: Precision;
  /** `integer`: codes in, int32 accumulation, codes out. `float`: float32 arithmetic, see {@link TensorStorage}. */
  mode: 'integer' | 'float';
  /** Everything resident about this variant's weights. */
  arena: SharedArrayBuffer;
  tensors: PlanTensor[];
  ops: PlanOp[];
  /** Index of the tensor that the caller's float32 NHWC input is put into. */
  input: number;
  /** Index of the float32 tensor that holds the logits. */
  output: number;
  /** Multiply-accumulates of one inference. */
  macs: number;
}

/**
 * How a tensor is stored between ops.
 * codes: x = scale·(q − zeroPoint), q an unsigned integer of `bits` bits, one byte each.
 */
export type TensorStorage =
  | { kind: 'codes'; bits: number; scale: number; zeroPoint: number }
  | { kind: 'float16' }
  | { kind: 'float32' };

export interface PlanTensor {
  /** Name of the graph node that gives it. */
  name: string;
  /** Images: height, width, channels; vectors: 1, 1, channels. */
  height: number;
  width: number;
  channels: number;
  storage: TensorStorage;
  /** Index of the tensor whose elements these are, under other dimensions; null where it has its own. */
  viewOf: number | null;
}

/** A part of the arena: offset in bytes, length in elements (for packed codes: in bytes). */
export interface ArenaSlice {
  byteOffset: number;
  length: number;
}

/**
 * Weights of one op: `rows` output channels of `columns` weights each; row c stands for output channel c.
 * bits 2..8: signed codes, stored + 2^(bits−1) as unsigned, least significant bit first, rows without gaps (packing.ts).
 * bits 16, 32: float16 or float32 values, row after row.
 * Columns run over (ky, kx, input channel) for a convolution, over inputs for dense, over (ky, kx) for depthwise.
 */
export interface PackedWeights {
  bits: number;
  rows: number;
  columns: number;
  /** Bytes in the arena. */
  codes: ArenaSlice;
  /** Float32 per row, bits 2..8 in float mode only: w = code·scale. */
  scales: ArenaSlice | null;
}

/** min and max of (q − zeroPoint) for a codes output, of the value for a float one. */
interface Clamp {
  clampMin: number;
  clampMax: number;
}

/** A tensor that is added before the clamp: a residual connection joined into the op that gives its other operand. */
export interface Residual {
  tensor: number;
  /** Float32: scale of the residual over scale of the output. */
  multiplier: number;
}

/** What Conv2D, DepthwiseConv2D and Dense share. */
interface LinearBase extends Clamp {
  input: number;
  output: number;
  weights: PackedWeights;
  /** integer mode: Int32 per row at scale s_x·s_w[row]; float mode: Float32 per row. */
  bias: ArenaSlice;
  /** integer mode: Float32 per row, s_x·s_w[row]/s_y (s_y = 1 for a float32 output). */
  multipliers: ArenaSlice | null;
  residual: Residual | null;
}

export interface ConvOp extends LinearBase, Window {
  op: 'conv2d';
}
export interface DepthwiseOp extends LinearBase, Window {
  op: 'depthwise_conv2d';
  /** Output channels per input channel. */
  multiplier: number;
}
export interface DenseOp extends LinearBase {
  op: 'dense';
}
/** Keeps the codes of its input: both tensors have the same storage. */
export interface MaxPoolOp extends Window {
  op: 'max_pool';
  input: number;
  output: number;
}
export interface AvgPoolOp extends Window, Clamp {
  op: 'avg_pool';
  input: number;
  output: number;
  /** integer mode: s_x/s_y in float64; the multiplier of a window with n valid positions is fround(ratio/n). */
  ratio: number;
}
export interface AddOp extends Clamp {
  op: 'add';
  inputs: number[];
  output: number;
  /** Float32, s_input/s_output for each input. */
  multipliers: number[];
}
/** The output seen as [outer, Σ inner] and input i as [outer, inner[i]]. */
export interface ConcatOp extends Clamp {
  op: 'concat';
  inputs: number[];
  output: number;
  outer: number;
  inner: number[];
  multipliers: number[];
}
/** Keeps the codes of its input and writes the zero point (or 0) around them. */
export interface PadOp {
  op: 'pad';
  input: number;
  output: number;
  top: number;
  left: number;
}
/** Elementwise: a ReLU that nothing could take in, a change of storage, or codes to float32. */
export interface RequantizeOp extends Clamp {
  op: 'requantize';
  input: number;
  output: number;
  multiplier: number;
}

export type PlanOp = ConvOp | DepthwiseOp | DenseOp | MaxPoolOp | AvgPoolOp | AddOp | ConcatOp | PadOp | RequantizeOp;
