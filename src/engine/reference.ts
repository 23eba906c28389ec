import type { MaxPoolOp, PadOp, Plan, PlanTensor } from '../quantize/plan.js';
import { clamp, roundHalfEven32 } from '../quantize/rounding.js';
import * as float from './float.js';
import * as integer from './integer.js';
import { eachPosition } from './patches.js';

/**
 * The reference engine: plain TypeScript, the definition that every other engine is held against. Integer plans are
 * exact; float plans accumulate in float64.
 */

/** Images that are run together: dense layers unpack their codes once for all of them, and memory stays bounded. */
const CHUNK = 8;

/** Sees every tensor of a chunk of images after it was written: real values in float plans, codes in integer ones. */
export type TensorObserver = (tensor: PlanTensor, values: integer.Buffer) => void;

/**
 * Runs a plan.
 * @param input float32 NHWC in the input range, batch × height × width × channels
 * @returns logits, batch × classes
 */
export function runPlan(plan: Plan, input: Float32Array, batch: number, observer?: TensorObserver): Float32Array {
  const size = elements(plan.tensors[plan.input]);
  if (input.length !== batch * size) {
    throw new RangeError(`input: expected ${batch} × ${size} numbers, got ${input.length}`);
  }
  const classes = elements(plan.tensors[plan.output]);
  const logits = new Float32Array(batch * classes);
  for (let first = 0; first < batch; first += CHUNK) {
    const count = Math.min(CHUNK, batch - first);
    const images = input.subarray(first * size, (first + count) * size);
    logits.set(runChunk(plan, images, count, observer), first * classes);
  }
  return logits;
}

function elements(tensor: PlanTensor): number {
  return tensor.height * tensor.width * tensor.channels;
}

/** Float32 NHWC input to codes: clamp(round half to even(x·fround(1/scale))) + zero point. */
export function quantizeInput(input: Float32Array, tensor: PlanTensor): Uint8Array {
  if (tensor.storage.kind !== 'codes') throw new Error(`${tensor.name}: expected codes, got ${tensor.storage.kind}`);
  const { scale, zeroPoint, bits } = tensor.storage;
  const inverse = Math.fround(1 / scale);
  const top = 2 ** bits - 1 - zeroPoint;
  const codes = new Uint8Array(input.length);
  for (let i = 0; i < input.length; i++) {
    codes[i] = roundHalfEven32(clamp(Math.fround(input[i] * inverse), -zeroPoint, top)) + zeroPoint;
  }
  return codes;
}

function runChunk(plan: Plan, images: Float32Array, batch: number, observer?: TensorObserver): Float32Array {
  const { tensors } = plan;
  const isFloat = plan.mode === 'float';
  const buffers: integer.Buffer[] = [];
  const bufferOf = (index: number): integer.Buffer => {
    const { viewOf } = tensors[index];
    return viewOf === null ? buffers[index] : bufferOf(viewOf);
  };
  const finish = (index: number) => {
    if (isFloat) float.roundToStorage(buffers[index] as Float32Array, tensors[index]);
    observer?.(tensors[index], buffers[index]);
  };
  buffers[plan.input] = isFloat ? Float32Array.from(images) : quantizeInput(images, tensors[plan.input]);
  finish(plan.input);

  for (const op of plan.ops) {
    const target = tensors[op.output];
    const size = elements(target);
    const out =
      target.storage.kind === 'codes' && !isFloat ? new Uint8Array(batch * size) : new Float32Array(batch * size);
    buffers[op.output] = out;
    const sources = 'inputs' in op ? op.inputs : [op.input];
    if (op.op === 'dense') {
      const residuals = residualBuffers(op.residual?.tensor, bufferOf, 0, 1);
      const input = bufferOf(op.input);
      if (isFloat)
        float.dense(plan, op, input as Float32Array, batch, out as Float32Array, residuals as Float32Array[]);
      else integer.dense(plan, op, input as Uint8Array, batch, out, residuals);
    } else {
      for (let n = 0; n < batch; n++) {
        const inputs = sources.map((s) => imageOf(bufferOf(s), n, batch));
        const image = imageOf(out, n, batch);
        const residual = 'residual' in op ? op.residual?.tensor : undefined;
        const residuals = residualBuffers(residual, bufferOf, n, batch);
        if (op.op === 'max_pool') maxPool(plan, op, inputs[0], image);
        else if (op.op === 'pad') pad(plan, op, inputs[0], image);
        else if (isFloat)
          runFloat(plan, op, inputs as Float32Array[], image as Float32Array, residuals as Float32Array[]);
        else runInteger(plan, op, inputs as Uint8Array[], image, residuals);
      }
    }
    finish(op.output);
  }
  return bufferOf(plan.output) as Float32Array;
}

function imageOf<T extends integer.Buffer>(buffer: T, n: number, batch: number): T {
  const size = buffer.length / batch;
  return buffer.subarray(n * size, (n + 1) * size) as T;
}

/** Buffers by tensor index, holding just the residual operand of an op. */
function residualBuffers(
  tensor: number | undefined,
  bufferOf: (index: number) => integer.Buffer,
  n: number,
  batch: number,
) {
  const buffers: integer.Buffer[] = [];
  if (tensor !== undefined) buffers[tensor] = imageOf(bufferOf(tensor), n, batch);
  return buffers;
}

type PerImageOp = Exclude<Plan['ops'][number], MaxPoolOp | PadOp | { op: 'dense' }>;

function runInteger(plan: Plan, op: PerImageOp, inputs: Uint8Array[], out: integer.Buffer, buffers: integer.Buffer[]) {
  switch (op.op) {
    case 'conv2d':
      return integer.conv2d(plan, op, inputs[0], out, buffers);
    case 'depthwise_conv2d':
      return integer.depthwise(plan, op, inputs[0], out, buffers);
    case 'avg_pool':
      return integer.avgPool(plan, op, inputs[0], out);
    case 'add':
      return integer.add(plan, op, inputs, out);
    case 'concat':
      return integer.concat(plan, op, inputs, out);
    case 'requantize':
      return integer.requantize(plan, op, inputs[0], out);
  }
}

function runFloat(plan: Plan, op: PerImageOp, inputs: Float32Array[], out: Float32Array, buffers: Float32Array[]) {
  switch (op.op) {
    case 'conv2d':
      return float.conv2d(plan, op, inputs[0], out, buffers);
    case 'depthwise_conv2d':
      return float.depthwise(plan, op, inputs[0], out, buffers);
    case 'avg_pool':
      return float.avgPool(plan, op, inputs[0], out);
    case 'add':
      return float.add(plan, op, inputs, out);
    case 'concat':
      return float.concat(plan, op, inputs, out);
    case 'requantize':
      return float.requantize(plan, op, inputs[0], out);
  }
}

/** The same for codes and floats: the order of codes is the order of values. */
function maxPool(plan: Plan, op: MaxPoolOp, image: integer.Buffer, out: integer.Buffer): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  for (let oy = 0; oy < output.height; oy++) {
    for (let ox = 0; ox < output.width; ox++) {
      for (let c = 0; c < output.channels; c++) {
        let max = Number.NEGATIVE_INFINITY;
        eachPosition(input, op, oy, ox, (_, offset) => {
          if (image[offset + c] > max) max = image[offset + c];
        });
        out[(oy * output.width + ox) * output.channels + c] = max;
      }
    }
  }
}

/** Writes the code of zero around the image. */
function pad(plan: Plan, op: PadOp, image: integer.Buffer, out: integer.Buffer): void {
  const [input, output] = [plan.tensors[op.input], plan.tensors[op.output]];
  out.fill(plan.mode === 'integer' ? integer.zeroPointOf(output) : 0);
  const row = input.width * input.channels;
  for (let y = 0; y < input.height; y++) {
    const to = ((y + op.top) * output.width + op.left) * output.channels;
    out.set(image.subarray(y * row, (y + 1) * row), to);
  }
}
