import { ServiceError } from '../errors.js';
import type { LayerCorrections } from '../model/corrections.js';
import type { FloatTensor, Weights } from '../model/graph.js';
import type { FusedAffine, FusedLinear } from './fuse.js';

/** The float weights of an op, output channel by output channel, batch norm folded in. */
export interface LinearWeights {
  rows: number;
  columns: number;
  /** Row c is output channel c; rows × columns. */
  kernel: Float32Array;
  /** rows long. */
  bias: Float32Array;
}

/** @throws ServiceError bad_model where there is none of that name */
export function tensor(weights: Weights, name: string): FloatTensor {
  const found = weights.get(name);
  if (!found) throw new ServiceError('bad_model', `weights: expected a tensor named ${name}, found none`);
  return found;
}

/** γ/√(variance + ε) and β − mean·γ/√(variance + ε), in float64. */
function affineOf(weights: Weights, node: FusedAffine['node']) {
  const mean = tensor(weights, node.mean).data;
  const variance = tensor(weights, node.variance).data;
  const gamma = node.gamma === null ? null : tensor(weights, node.gamma).data;
  const beta = node.beta === null ? null : tensor(weights, node.beta).data;
  const scale = Float64Array.from(variance, (v, c) => (gamma ? gamma[c] : 1) / Math.sqrt(v + node.epsilon));
  const shift = Float64Array.from(scale, (s, c) => (beta ? beta[c] : 0) - mean[c] * s);
  return { scale, shift };
}

/**
 * Kernel and bias of a fused layer: w·γ/√(σ² + ε) and β + (b − μ)·γ/√(σ² + ε), computed in float64 and rounded once to
 * float32. Every kernel layout of TF.js ends with the output channels ([kh, kw, cin, cout], [in, out], [kh, kw, c, m]),
 * so all are [columns, rows] matrices that are turned here.
 */
export function foldedWeights(op: FusedLinear | FusedAffine, weights: Weights): LinearWeights {
  if (op.kind === 'affine') {
    const { scale, shift } = affineOf(weights, op.node);
    return { rows: scale.length, columns: 1, kernel: Float32Array.from(scale), bias: Float32Array.from(shift) };
  }
  const { data, shape } = tensor(weights, op.node.kernel);
  const rows = op.node.op === 'depthwise_conv2d' ? shape[2] * shape[3] : (shape.at(-1) as number);
  const columns = data.length / rows;
  const rawBias = op.node.bias === null ? null : tensor(weights, op.node.bias).data;
  const norm = op.batchNorm ? affineOf(weights, op.batchNorm) : null;
  const kernel = new Float32Array(data.length);
  const bias = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const scale = norm ? norm.scale[row] : 1;
    for (let column = 0; column < columns; column++) {
      kernel[row * columns + column] = data[column * rows + row] * scale;
    }
    bias[row] = (rawBias ? rawBias[row] : 0) * scale + (norm ? norm.shift[row] : 0);
  }
  return { rows, columns, kernel, bias };
}

/**
 * What is taken from the folded biases of a layer: mean error of each output channel, found when the version was made.
 * @returns null for a layer without one
 * @throws ServiceError bad_model where there is not one number for each row
 */
export function correctionOf(corrections: LayerCorrections, layer: string, rows: number): Float32Array | null {
  const correction = corrections.get(layer);
  if (correction === undefined) return null;
  if (correction.length !== rows) {
    throw new ServiceError(
      'bad_model',
      `bias corrections: ${layer}: expected ${rows} numbers, got ${correction.length}`,
    );
  }
  return correction;
}

/** The bias with its correction taken off, in float32. */
export function correctedBias(bias: Float32Array, correction: Float32Array | null): Float32Array {
  return correction === null ? bias : bias.map((b, row) => b - correction[row]);
}
