import { fromFloat16, roundToFloat16 } from '../model/float16.js';
import { bytesAt, floatsAt } from '../quantize/arena.js';
import { unpackCodes } from '../quantize/packing.js';
import type {
  AddOp,
  ArenaSlice,
  AvgPoolOp,
  ConcatOp,
  ConvOp,
  DenseOp,
  DepthwiseOp,
  PackedWeights,
  Plan,
  PlanTensor,
  RequantizeOp,
} from '../quantize/plan.js';
import { clamp, roundHalfEven32 } from '../quantize/rounding.js';
import { eachPosition, gatherPatches, isPointwise } from './patches.js';

/**
 * The float ops: tensors are float32 whatever their storage, and what is stored at fewer bits is rounded to that storage
 * when it is written. Sums are accumulated in float64 and rounded once.
 */

/** Rounds values, already clamped by the op, to a tensor's storage in place. */
export function roundToStorage(values: Float32Array, tensor: PlanTensor): void {
  const { storage } = tensor;
  if (storage.kind === 'float16') {
    for (let i = 0; i < values.length; i++) values[i] = roundToFloat16(values[i]);
  } else if (storage.kind === 'codes') {
    const { scale, zeroPoint, bits } = storage;
    const inverse = Math.fround(1 / scale);
    const top = 2 ** bits - 1 - zeroPoint;
    for (let i = 0; i < values.length; i++) {
      values[i] = roundHalfEven32(clamp(Math.fround(values[i] * inverse), -zeroPoint, top)) * scale;
    }
  }
}

/** The bounds of an op, in real values. For codes they are given in steps of the output. */
function boundsOf(op: { clampMin: number; clampMax: number }, target: PlanTensor): [number, number] {
  const step = target.storage.kind === 'codes' ? target.storage.scale : 1;
  return [op.clampMin * step, op.clampMax * step];
}

/** Rows `first` … `first + count − 1` as float32. */
function decodeRows(plan: Plan, weights: PackedWeights, first: number, count: number, out: Float32Array): void {
  const { bits, columns, codes: at } = weights;
  const length = count * columns;
  if (bits === 32) {
    out.set(new Float32Array(plan.arena, at.byteOffset + first * columns * 4, length));
  } else if (bits === 16) {
    const half = new Uint16Array(plan.arena, at.byteOffset + first * columns * 2, length);
    for (let i = 0; i < length; i++) out[i] = fromFloat16(half[i]);
  } else {
    const codes = new Int8Array(length);
    unpackCodes(bytesAt(plan.arena, at), bits, first * columns, length, codes);
    const scales = floatsAt(plan.arena, weights.scales as ArenaSlice);
    for (let i = 0; i < length; i++) out[i] = codes[i] * scales[first + Math.floor(i / columns)];
  }
}

function multiply(
  plan: Plan,
  op: ConvOp | DenseOp,
  patches: Float32Array,
  pixels: number,
  out: Float32Array,
  buffers: Float32Array[],
) {
  const { rows, columns } = op.weights;
  const bias = floatsAt(plan.arena, op.bias);
  const [low, high] = boundsOf(op, plan.tensors[op.output]);
  const residual = op.residual && buffers[op.residual.tensor];
  const row = new Float32Array(columns);
  for (let r = 0; r < rows; r++) {
    decodeRows(plan, op.weights, r, 1, row);
    for (let m = 0; m < pixels; m++) {
      const base = m * columns;
      let acc = bias[r];
      for (let k = 0; k < columns; k++) acc += patches[base + k] * row[k];
      const at = m * rows + r;
      out[at] = clamp(residual ? acc + residual[at] : acc, low, high);
    }
  }
}

export function conv2d(plan: Plan, op: ConvOp, image: Float32Array, out: Float32Array, buffers: Float32Array[]): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const pixels = output.height * output.width;
  let patches = image;
  if (!isPointwise(op)) {
    patches = new Float32Array(pixels * op.weights.columns);
    gatherPatches(image, input, output, op, 0, patches);
  }
  multiply(plan, op, patches, pixels, out, buffers);
}

export function dense(
  plan: Plan,
  op: DenseOp,
  images: Float32Array,
  batch: number,
  out: Float32Array,
  buffers: Float32Array[],
): void {
  multiply(plan, op, images, batch, out, buffers);
}

export function depthwise(
  plan: Plan,
  op: DepthwiseOp,
  image: Float32Array,
  out: Float32Array,
  buffers: Float32Array[],
): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const { rows, columns } = op.weights;
  const bias = floatsAt(plan.arena, op.bias);
  const [low, high] = boundsOf(op, output);
  const residual = op.residual && buffers[op.residual.tensor];
  const kernel = new Float32Array(rows * columns);
  decodeRows(plan, op.weights, 0, rows, kernel);
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let row = 0; row < rows; row++) {
        const channel = Math.floor(row / op.multiplier);
        let acc = bias[row];
        eachPosition(input, op, oy, ox, (k, offset) => {
          acc += image[offset + channel] * kernel[row * columns + k];
        });
        const at = (oy * output.width + ox) * rows + row;
        out[at] = clamp(residual ? acc + residual[at] : acc, low, high);
      }
    }
  }
}

export function avgPool(plan: Plan, op: AvgPoolOp, image: Float32Array, out: Float32Array): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const [low, high] = boundsOf(op, output);
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let c = 0; c < output.channels; c++) {
        let sum = 0;
        let count = 0;
        eachPosition(input, op, oy, ox, (_, offset) => {
          sum += image[offset + c];
          count++;
        });
        out[(oy * output.width + ox) * output.channels + c] = clamp(sum / count, low, high);
      }
    }
  }
}

export function add(plan: Plan, op: AddOp, inputs: Float32Array[], out: Float32Array): void {
  const [low, high] = boundsOf(op, plan.tensors[op.output]);
  for (let i = 0; i < out.length; i++) {
    let v = 0;
    for (const input of inputs) v += input[i];
    out[i] = clamp(v, low, high);
  }
}

export function concat(plan: Plan, op: ConcatOp, inputs: Float32Array[], out: Float32Array): void {
  const [low, high] = boundsOf(op, plan.tensors[op.output]);
  let at = 0;
  for (let o = 0; o < op.outer; o++) {
    for (let n = 0; n < inputs.length; n++) {
      const from = o * op.inner[n];
      for (let i = 0; i < op.inner[n]; i++) out[at++] = clamp(inputs[n][from + i], low, high);
    }
  }
}

export function requantize(plan: Plan, op: RequantizeOp, image: Float32Array, out: Float32Array): void {
  const [low, high] = boundsOf(op, plan.tensors[op.output]);
  for (let i = 0; i < out.length; i++) out[i] = clamp(image[i], low, high);
}
