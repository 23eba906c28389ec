import { ServiceError } from '../errors.js';
import { toFloat16 } from '../model/float16.js';
import type { ClipRule } from '../model/manifest.js';
import { type ArenaLayout, bytesAt, floatsAt, intsAt } from './arena.js';
import type { LinearWeights } from './fold.js';
import { packCodes, packedBytes } from './packing.js';
import type { ArenaSlice, PackedWeights, TensorStorage } from './plan.js';
import { roundHalfEven } from './rounding.js';
import { channelScale, quantizeChannel } from './scales.js';

/** Where the parts of a layer's weights lie in the arena. */
export interface LinearSlices {
  weights: PackedWeights;
  bias: ArenaSlice;
  multipliers: ArenaSlice | null;
}

/** Asks the arena for a layer's room. */
export function placeLinear(
  layout: ArenaLayout,
  rows: number,
  columns: number,
  bits: number,
  mode: 'integer' | 'float',
): LinearSlices {
  const codes =
    bits <= 8 ? layout.add(packedBytes(rows * columns, bits), 1) : layout.add(rows * columns * (bits / 8), 1);
  const scales = mode === 'float' && bits <= 8 ? layout.add(rows, 4) : null;
  return {
    weights: { bits, rows, columns, codes, scales },
    bias: layout.add(rows, 4),
    multipliers: mode === 'integer' ? layout.add(rows, 4) : null,
  };
}

/** Bound on |bias code|: leaves half of int32 to the products. */
const BIAS_LIMIT = 2 ** 30;
const ACCUMULATOR_LIMIT = 2 ** 31 - 1;

/**
 * Quantises a layer for the integer engine.
 * s_w by the clip rule, but at least |b|/(s_x·2^30), so that a channel of tiny weights and a real bias keeps its bias;
 * bias code = round half to even(b/(s_x·s_w)) in float64; multiplier = fround(s_x·s_w/s_y).
 */
export function fillInteger(
  arena: SharedArrayBuffer,
  slices: LinearSlices,
  layer: LinearWeights & { name: string },
  rule: ClipRule,
  input: TensorStorage,
  output: TensorStorage,
): void {
  if (input.kind !== 'codes') throw new Error(`${layer.name}: an integer layer needs codes, got ${input.kind}`);
  const { bits, columns, rows } = slices.weights;
  const packed = bytesAt(arena, slices.weights.codes);
  const bias = intsAt(arena, slices.bias);
  const multipliers = floatsAt(arena, slices.multipliers as ArenaSlice);
  const outputScale = output.kind === 'codes' ? output.scale : 1;
  const largestInput = Math.max(input.zeroPoint, 2 ** input.bits - 1 - input.zeroPoint);
  const codes = new Int8Array(columns);
  for (let row = 0; row < rows; row++) {
    const w = layer.kernel.subarray(row * columns, (row + 1) * columns);
    let scale = channelScale(w, bits, rule);
    const least = Math.fround(Math.abs(layer.bias[row]) / (input.scale * BIAS_LIMIT));
    if (Math.abs(scale) < least) scale = scale < 0 ? -least : least;
    quantizeChannel(w, scale, bits, codes);
    packCodes(codes, bits, packed, row * columns);
    bias[row] = roundHalfEven(layer.bias[row] / (input.scale * scale));
    multipliers[row] = (input.scale * scale) / outputScale;
    let magnitude = Math.abs(bias[row]);
    for (let i = 0; i < columns; i++) magnitude += Math.abs(codes[i]) * largestInput;
    if (magnitude > ACCUMULATOR_LIMIT) {
      throw new ServiceError('bad_model', `${layer.name}: ${columns} inputs could overflow the 32-bit accumulator`);
    }
  }
}

/** Stores a layer for the float engine: codes with their scales, float16 or float32. */
export function fillFloat(arena: SharedArrayBuffer, slices: LinearSlices, layer: LinearWeights, rule: ClipRule): void {
  const { bits, columns, rows, codes: at } = slices.weights;
  floatsAt(arena, slices.bias).set(layer.bias);
  if (bits === 32) {
    new Float32Array(arena, at.byteOffset, rows * columns).set(layer.kernel);
  } else if (bits === 16) {
    const half = new Uint16Array(arena, at.byteOffset, rows * columns);
    for (let i = 0; i < half.length; i++) half[i] = toFloat16(layer.kernel[i]);
  } else {
    const packed = bytesAt(arena, at);
    const scales = floatsAt(arena, slices.weights.scales as ArenaSlice);
    const codes = new Int8Array(columns);
    for (let row = 0; row < rows; row++) {
      const w = layer.kernel.subarray(row * columns, (row + 1) * columns);
      scales[row] = channelScale(w, bits, rule);
      quantizeChannel(w, scales[row], bits, codes);
      packCodes(codes, bits, packed, row * columns);
    }
  }
}
