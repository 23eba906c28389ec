import { bytesAt, floatsAt, intsAt } from '../quantize/arena.js';
import { unpackCodes } from '../quantize/packing.js';
import type {
  AddOp,
  ArenaSlice,
  AvgPoolOp,
  ConcatOp,
  ConvOp,
  DenseOp,
  DepthwiseOp,
  Plan,
  PlanTensor,
  RequantizeOp,
} from '../quantize/plan.js';
import { clamp, roundHalfEven32 } from '../quantize/rounding.js';
import { eachPosition, gatherPatches, isPointwise } from './patches.js';

/** The integer ops, one image (or, for dense, one chunk of images) at a time. docs/ARITHMETIC.md gives the formulas. */

/** Codes, or float32 for the logits. */
export type Buffer = Uint8Array | Float32Array;
/** Rows whose codes are unpacked together, so that a patch is read once for all of them. */
const ROW_TILE = 4;

export function zeroPointOf(tensor: PlanTensor): number {
  return tensor.storage.kind === 'codes' ? tensor.storage.zeroPoint : 0;
}

interface Store {
  clampMin: number;
  clampMax: number;
}

/** v, a float32 in units of the output, to what is stored: clamped, and for codes rounded half to even. */
function stored(v: number, op: Store, target: PlanTensor): number {
  const held = clamp(v, op.clampMin, op.clampMax);
  return target.storage.kind === 'codes' ? roundHalfEven32(held) + target.storage.zeroPoint : held;
}

interface LinearParts {
  bias: Int32Array;
  multipliers: Float32Array;
  residual: { values: Buffer; zeroPoint: number; multiplier: number } | null;
}

function partsOf(plan: Plan, op: ConvOp | DenseOp | DepthwiseOp, buffers: Buffer[]): LinearParts {
  const { residual } = op;
  return {
    bias: intsAt(plan.arena, op.bias),
    multipliers: floatsAt(plan.arena, op.multipliers as ArenaSlice),
    residual: residual && {
      values: buffers[residual.tensor],
      zeroPoint: zeroPointOf(plan.tensors[residual.tensor]),
      multiplier: residual.multiplier,
    },
  };
}

/** fround(acc)·multiplier, plus the residual rescaled, each step rounded to float32. */
function rescaled(acc: number, row: number, at: number, parts: LinearParts): number {
  const v = Math.fround(Math.fround(acc) * parts.multipliers[row]);
  const { residual } = parts;
  if (residual === null) return v;
  return Math.fround(v + Math.fround((residual.values[at] - residual.zeroPoint) * residual.multiplier));
}

/** Output rows·pixels as a matrix product of patches [pixels, columns] and the unpacked codes. */
function multiply(
  plan: Plan,
  op: ConvOp | DenseOp,
  patches: Uint8Array,
  pixels: number,
  out: Buffer,
  buffers: Buffer[],
) {
  const { rows, columns, bits } = op.weights;
  const packed = bytesAt(plan.arena, op.weights.codes);
  const parts = partsOf(plan, op, buffers);
  const zeroPoint = zeroPointOf(plan.tensors[op.input]);
  const target = plan.tensors[op.output];
  const codes = new Int8Array(ROW_TILE * columns);
  const sums = new Int32Array(ROW_TILE);
  for (let row = 0; row < rows; row += ROW_TILE) {
    const tile = Math.min(ROW_TILE, rows - row);
    unpackCodes(packed, bits, row * columns, tile * columns, codes);
    codes.fill(0, tile * columns);
    for (let t = 0; t < ROW_TILE; t++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += codes[t * columns + k];
      sums[t] = sum * zeroPoint;
    }
    const [second, third, fourth] = [columns, 2 * columns, 3 * columns];
    for (let m = 0; m < pixels; m++) {
      const base = m * columns;
      let [a, b, c, d] = [0, 0, 0, 0];
      for (let k = 0; k < columns; k++) {
        const q = patches[base + k];
        a = (a + Math.imul(q, codes[k])) | 0;
        b = (b + Math.imul(q, codes[second + k])) | 0;
        c = (c + Math.imul(q, codes[third + k])) | 0;
        d = (d + Math.imul(q, codes[fourth + k])) | 0;
      }
      for (let t = 0; t < tile; t++) {
        const product = t === 0 ? a : t === 1 ? b : t === 2 ? c : d;
        const at = m * rows + row + t;
        const acc = (product - sums[t] + parts.bias[row + t]) | 0;
        out[at] = stored(rescaled(acc, row + t, at, parts), op, target);
      }
    }
  }
}

export function conv2d(plan: Plan, op: ConvOp, image: Uint8Array, out: Buffer, buffers: Buffer[]): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const pixels = output.height * output.width;
  let patches = image;
  if (!isPointwise(op)) {
    patches = new Uint8Array(pixels * op.weights.columns);
    gatherPatches(image, input, output, op, zeroPointOf(input), patches);
  }
  multiply(plan, op, patches, pixels, out, buffers);
}

/** All images of a chunk at once: each unpacked row serves them all. */
export function dense(
  plan: Plan,
  op: DenseOp,
  images: Uint8Array,
  batch: number,
  out: Buffer,
  buffers: Buffer[],
): void {
  multiply(plan, op, images, batch, out, buffers);
}

export function depthwise(plan: Plan, op: DepthwiseOp, image: Uint8Array, out: Buffer, buffers: Buffer[]): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const { rows, columns, bits } = op.weights;
  const parts = partsOf(plan, op, buffers);
  const zeroPoint = zeroPointOf(input);
  const codes = new Int8Array(rows * columns);
  unpackCodes(bytesAt(plan.arena, op.weights.codes), bits, 0, codes.length, codes);
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let row = 0; row < rows; row++) {
        const channel = Math.floor(row / op.multiplier);
        let acc = parts.bias[row];
        eachPosition(input, op, oy, ox, (k, offset) => {
          acc = (acc + Math.imul(image[offset + channel] - zeroPoint, codes[row * columns + k])) | 0;
        });
        const at = (oy * output.width + ox) * rows + row;
        out[at] = stored(rescaled(acc, row, at, parts), op, output);
      }
    }
  }
}

export function avgPool(plan: Plan, op: AvgPoolOp, image: Uint8Array, out: Buffer): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  const zeroPoint = zeroPointOf(input);
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let c = 0; c < output.channels; c++) {
        let sum = 0;
        let count = 0;
        eachPosition(input, op, oy, ox, (_, offset) => {
          sum += image[offset + c] - zeroPoint;
          count++;
        });
        const v = Math.fround(Math.fround(sum) * Math.fround(op.ratio / count));
        out[(oy * output.width + ox) * output.channels + c] = stored(v, op, output);
      }
    }
  }
}

/** Operands in their order, each (q − z)·multiplier rounded to float32, as is every partial sum. */
export function add(plan: Plan, op: AddOp, inputs: Uint8Array[], out: Buffer): void {
  const zeroPoints = op.inputs.map((i) => zeroPointOf(plan.tensors[i]));
  const target = plan.tensors[op.output];
  for (let i = 0; i < out.length; i++) {
    let v = 0;
    for (let n = 0; n < inputs.length; n++) {
      v = Math.fround(v + Math.fround((inputs[n][i] - zeroPoints[n]) * op.multipliers[n]));
    }
    out[i] = stored(v, op, target);
  }
}

export function concat(plan: Plan, op: ConcatOp, inputs: Uint8Array[], out: Buffer): void {
  const target = plan.tensors[op.output];
  let at = 0;
  for (let o = 0; o < op.outer; o++) {
    for (let n = 0; n < inputs.length; n++) {
      const zeroPoint = zeroPointOf(plan.tensors[op.inputs[n]]);
      const from = o * op.inner[n];
      for (let i = 0; i < op.inner[n]; i++) {
        out[at++] = stored(Math.fround((inputs[n][from + i] - zeroPoint) * op.multipliers[n]), op, target);
      }
    }
  }
}

export function requantize(plan: Plan, op: RequantizeOp, image: Uint8Array, out: Buffer): void {
  const zeroPoint = zeroPointOf(plan.tensors[op.input]);
  const target = plan.tensors[op.output];
  for (let i = 0; i < out.length; i++) {
    out[i] = stored(Math.fround((image[i] - zeroPoint) * op.multiplier), op, target);
  }
}
