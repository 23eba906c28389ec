import * as tf from '@tensorflow/tfjs-core';
import { fromFloat16 } from '../model/float16.js';
import { bytesAt, floatsAt, intsAt } from '../quantize/arena.js';
import type { Window } from '../quantize/geometry.js';
import { unpackCodes } from '../quantize/packing.js';
import type { ArenaSlice, ConvOp, DenseOp, DepthwiseOp, Plan, PlanOp, PlanTensor } from '../quantize/plan.js';

/**
 * A plan as TF.js ops with simulated quantisation, on whatever backend TF.js has: it answers where a GPU serves, and it
 * checks the other engines, sharing nothing with them but the plan.
 *
 * In an integer plan a tensor holds q − zero point as float32, so padding is 0 and weights are the codes themselves.
 * Sums are float32 and exact below 2²⁴; past that they are rounded, so results may differ from the exact engines by a
 * code here and there.
 */

/** The weights of an op on the backend. */
interface LayerTensors {
  kernel: tf.Tensor;
  /** Float32 bias: integer plans round int32 biases to float32. */
  bias: tf.Tensor;
  multipliers: tf.Tensor | null;
}

/** A plan with its weights on the backend, where they are float32. */
export class TfjsPlan {
  readonly #plan: Plan;
  readonly #layers: Map<PlanOp, LayerTensors>;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#layers = new Map();
    for (const op of plan.ops) if ('weights' in op) this.#layers.set(op, layerTensors(plan, op));
  }

  /**
   * @param input float32 NHWC in the input range, batch × height × width × channels
   * @returns logits, batch × classes
   */
  async run(input: Float32Array, batch: number): Promise<Float32Array> {
    const logits = tf.tidy(() => {
      const { tensors } = this.#plan;
      const values: tf.Tensor4D[] = [];
      const tensorAt = (index: number): tf.Tensor4D => {
        const { viewOf, height, width, channels } = tensors[index];
        if (viewOf === null) return values[index];
        return tf.reshape(tensorAt(viewOf), [batch, height, width, channels]);
      };
      const source = tensors[this.#plan.input];
      const x = tf.tensor4d(input, [batch, source.height, source.width, source.channels]);
      values[this.#plan.input] = this.#stored(x, source);
      for (const op of this.#plan.ops) values[op.output] = this.#apply(op, tensorAt);
      return tensorAt(this.#plan.output);
    });
    try {
      return (await logits.data()) as Float32Array;
    } finally {
      logits.dispose();
    }
  }

  dispose(): void {
    for (const { kernel, bias, multipliers } of this.#layers.values()) tf.dispose([kernel, bias, multipliers ?? []]);
    this.#layers.clear();
  }

  #apply(op: PlanOp, tensorAt: (index: number) => tf.Tensor4D): tf.Tensor4D {
    const { tensors } = this.#plan;
    const target = tensors[op.output];
    const integer = this.#plan.mode === 'integer';
    switch (op.op) {
      case 'conv2d':
      case 'depthwise_conv2d':
      case 'dense':
        return this.#linear(op, tensorAt);
      case 'max_pool': {
        const x = padded(tensorAt(op.input), op, target, -1e30);
        return tf.maxPool(x, [op.kernelHeight, op.kernelWidth], [op.strideHeight, op.strideWidth], 'valid');
      }
      case 'avg_pool': {
        const x = padded(tensorAt(op.input), op, target, 0);
        const area = op.kernelHeight * op.kernelWidth;
        const mean = tf.avgPool(x, [op.kernelHeight, op.kernelWidth], [op.strideHeight, op.strideWidth], 'valid');
        const shares = insideCounts(tensors[op.input], target, op).map((n) => area / n);
        const inside = tf.mul(mean, tf.tensor4d(shares, [1, target.height, target.width, 1])) as tf.Tensor4D;
        return this.#result(integer ? tf.mul(inside, op.ratio) : inside, op, target);
      }
      case 'add': {
        const terms = op.inputs.map((i, n) => (integer ? tf.mul(tensorAt(i), op.multipliers[n]) : tensorAt(i)));
        return this.#result(tf.addN(terms) as tf.Tensor4D, op, target);
      }
      case 'concat': {
        const parts = op.inputs.map((i, n) => {
          const flat = tf.reshape(tensorAt(i), [-1, op.inner[n]]);
          return integer ? tf.mul(flat, op.multipliers[n]) : flat;
        });
        const shape: [number, number, number, number] = [-1, target.height, target.width, target.channels];
        return this.#result(tf.reshape(tf.concat(parts, 1), shape), op, target);
      }
      case 'pad': {
        const { height, width } = tensors[op.input];
        const [bottom, right] = [target.height - height - op.top, target.width - width - op.left];
        return tf.pad4d(tensorAt(op.input), [
          [0, 0],
          [op.top, bottom],
          [op.left, right],
          [0, 0],
        ]);
      }
      case 'requantize': {
        const x = tensorAt(op.input);
        return this.#result(integer ? tf.mul(x, op.multiplier) : x, op, target);
      }
    }
  }

  #linear(op: ConvOp | DepthwiseOp | DenseOp, tensorAt: (index: number) => tf.Tensor4D): tf.Tensor4D {
    const { kernel, bias, multipliers } = this.#layers.get(op) as LayerTensors;
    const target = this.#plan.tensors[op.output];
    const x = tensorAt(op.input);
    let sum: tf.Tensor;
    if (op.op === 'dense') {
      const flat = tf.matMul(tf.reshape(x, [x.shape[0], op.weights.columns]), kernel as tf.Tensor2D);
      sum = tf.reshape(flat, [x.shape[0], 1, 1, op.weights.rows]);
    } else {
      const strides: [number, number] = [op.strideHeight, op.strideWidth];
      const dilation: [number, number] = [op.dilationHeight, op.dilationWidth];
      const image = padded(x, op, target, 0);
      const convolve = op.op === 'conv2d' ? tf.conv2d : tf.depthwiseConv2d;
      sum = convolve(image, kernel as tf.Tensor4D, strides, 'valid', 'NHWC', dilation);
    }
    sum = tf.add(sum, bias);
    if (multipliers) sum = tf.mul(sum, multipliers);
    if (op.residual) {
      const residual = tensorAt(op.residual.tensor);
      sum = tf.add(sum, multipliers ? tf.mul(residual, op.residual.multiplier) : residual);
    }
    return this.#result(sum as tf.Tensor4D, op, target);
  }

  /** Clamps and rounds a result to its tensor's storage. In integer plans it is in units of the output. */
  #result(x: tf.Tensor, op: { clampMin: number; clampMax: number }, target: PlanTensor): tf.Tensor4D {
    const codes = target.storage.kind === 'codes';
    const step = this.#plan.mode === 'float' && target.storage.kind === 'codes' ? target.storage.scale : 1;
    const held = bounded(x, op.clampMin * step, op.clampMax * step);
    if (this.#plan.mode === 'integer') return (codes ? tf.round(held) : held) as tf.Tensor4D;
    return this.#stored(held, target);
  }

  /** A real value as its tensor stores it: q − zero point in integer plans, the nearest value in float ones. */
  #stored(x: tf.Tensor, tensor: PlanTensor): tf.Tensor4D {
    const { storage } = tensor;
    if (storage.kind === 'float32') return x as tf.Tensor4D;
    if (storage.kind === 'float16') return roundedToHalf(x) as tf.Tensor4D;
    const { scale, zeroPoint, bits } = storage;
    const q = tf.round(tf.clipByValue(tf.mul(x, Math.fround(1 / scale)), 0 - zeroPoint, 2 ** bits - 1 - zeroPoint));
    return (this.#plan.mode === 'integer' ? q : tf.mul(q, scale)) as tf.Tensor4D;
  }
}

/** To 11 significant bits by Veltkamp's splitting, and to multiples of 2⁻²⁴ where float16 is subnormal. */
function roundedToHalf(x: tf.Tensor): tf.Tensor {
  const held = tf.clipByValue(x, -65504, 65504);
  const split = tf.mul(held, 2 ** 13 + 1);
  const normal = tf.sub(split, tf.sub(split, held));
  const small = tf.mul(tf.round(tf.mul(held, 2 ** 24)), 2 ** -24);
  return tf.where(tf.less(tf.abs(held), 2 ** -14), small, normal);
}

function bounded(x: tf.Tensor, low: number, high: number): tf.Tensor {
  let held = x;
  if (low !== Number.NEGATIVE_INFINITY) held = tf.maximum(held, low);
  if (high !== Number.POSITIVE_INFINITY) held = tf.minimum(held, high);
  return held;
}

/** Pads an image so that a `valid` window gives just the target's size. */
function padded(x: tf.Tensor4D, w: Window, target: PlanTensor, value: number): tf.Tensor4D {
  const behind = (size: number, out: number, kernel: number, stride: number, dilation: number, before: number) =>
    (out - 1) * stride + (kernel - 1) * dilation + 1 - size - before;
  const [, height, width] = x.shape;
  const bottom = behind(height, target.height, w.kernelHeight, w.strideHeight, w.dilationHeight, w.padTop);
  const right = behind(width, target.width, w.kernelWidth, w.strideWidth, w.dilationWidth, w.padLeft);
  if (w.padTop === 0 && w.padLeft === 0 && bottom <= 0 && right <= 0) return x;
  return tf.pad4d(
    x,
    [
      [0, 0],
      [w.padTop, Math.max(bottom, 0)],
      [w.padLeft, Math.max(right, 0)],
      [0, 0],
    ],
    value,
  );
}

/** For each output position, how many positions of its window lie in the image. */
function insideCounts(input: PlanTensor, target: PlanTensor, w: Window): number[] {
  const axis = (out: number, size: number, kernel: number, stride: number, before: number) =>
    Array.from({ length: out }, (_, o) => {
      const first = o * stride - before;
      return Math.min(first + kernel, size) - Math.max(first, 0);
    });
  const rows = axis(target.height, input.height, w.kernelHeight, w.strideHeight, w.padTop);
  const columns = axis(target.width, input.width, w.kernelWidth, w.strideWidth, w.padLeft);
  return rows.flatMap((r) => columns.map((c) => r * c));
}

/** Codes or floats of an op in TF.js's layout: output channels last. */
function layerTensors(plan: Plan, op: ConvOp | DepthwiseOp | DenseOp): LayerTensors {
  const { rows, columns } = op.weights;
  const values = decoded(plan, op);
  const turned = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[c * rows + r] = values[r * columns + c];
  const integer = plan.mode === 'integer';
  const bias = integer ? Float32Array.from(intsAt(plan.arena, op.bias)) : floatsAt(plan.arena, op.bias).slice();
  const multipliers = op.multipliers ? tf.tensor1d(floatsAt(plan.arena, op.multipliers).slice()) : null;
  let shape: number[] = [columns, rows];
  if (op.op === 'conv2d') {
    const channels = columns / (op.kernelHeight * op.kernelWidth);
    shape = [op.kernelHeight, op.kernelWidth, channels, rows];
  } else if (op.op === 'depthwise_conv2d') {
    shape = [op.kernelHeight, op.kernelWidth, rows / op.multiplier, op.multiplier];
  }
  return { kernel: tf.tensor(turned, shape), bias: tf.tensor1d(bias), multipliers };
}

/** Row after row: codes of an integer plan, real weights of a float one. */
function decoded(plan: Plan, op: ConvOp | DepthwiseOp | DenseOp): Float32Array {
  const { bits, rows, columns, codes: at, scales } = op.weights;
  const length = rows * columns;
  if (bits === 32) return new Float32Array(plan.arena, at.byteOffset, length).slice();
  if (bits === 16) return Float32Array.from(new Uint16Array(plan.arena, at.byteOffset, length), fromFloat16);
  const codes = new Int8Array(length);
  unpackCodes(bytesAt(plan.arena, at), bits, 0, length, codes);
  if (plan.mode === 'integer') return Float32Array.from(codes);
  const scale = floatsAt(plan.arena, scales as ArenaSlice);
  return Float32Array.from(codes, (code, i) => code * scale[Math.floor(i / columns)]);
}
