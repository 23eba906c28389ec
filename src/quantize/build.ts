import type { LayerCorrections } from '../model/corrections.js';
import type { Graph, Weights } from '../model/graph.js';
import { ArenaLayout } from './arena.js';
import { quantizerChoice } from './choice.js';
import { correctedBias, correctionOf, foldedWeights } from './fold.js';
import { type FusedGraph, type FusedOp, fuseGraph } from './fuse.js';
import { dims, geometryOf } from './geometry.js';
import { fillFloat, fillInteger, placeLinear } from './linear.js';
import type { Plan, PlanOp, PlanTensor, TensorStorage } from './plan.js';
import { isInteger, type Precision } from './precision.js';
import { roundHalfEven } from './rounding.js';
import { type QuantizerSource, tensorStorages, weightBits } from './storage.js';

const LOGITS_NAME = 'logits';
const NO_CORRECTIONS: LayerCorrections = new Map();

/**
 * Quantises a version to a precision.
 * @param weights by the names that the graph's nodes use
 * @param source what the manifest knows: input range, activation ranges, clip rules; reads no data
 * @param corrections of this precision's biases, where the manifest says that it has some
 * @throws ServiceError bad_model where a weight or a range is missing, or an accumulator could overflow
 */
export function buildPlan(
  graph: Graph,
  weights: Weights,
  source: QuantizerSource,
  precision: Precision,
  corrections: LayerCorrections = NO_CORRECTIONS,
): Plan {
  return buildFused(fuseGraph(graph), weights, source, precision, corrections);
}

/** {@link buildPlan} of a graph that is fused already. */
export function buildFused(
  fused: FusedGraph,
  weights: Weights,
  source: QuantizerSource,
  precision: Precision,
  corrections: LayerCorrections,
): Plan {
  const { plan, layout, fill } = outline(fused, source, precision);
  const arena = layout.allocate();
  for (const step of fill) step(arena, weights, corrections);
  return { ...plan, arena };
}

/** Bytes that the plan of a precision keeps resident; known before it is built. */
export function planBytes(graph: Graph, source: QuantizerSource, precision: Precision): number {
  return outline(fuseGraph(graph), source, precision).layout.bytes;
}

type FillStep = (arena: SharedArrayBuffer, weights: Weights, corrections: LayerCorrections) => void;

/** Everything about a plan but the bytes in its arena: ops, tensors, and what will fill the arena. */
export function outline(fused: FusedGraph, source: QuantizerSource, precision: Precision) {
  const mode = isInteger(precision) ? 'integer' : 'float';
  const rule = quantizerChoice(source.quantizer, precision).clipRule ?? 'squared-error';
  const storages = tensorStorages(fused, source, precision);
  const names = [...fused.tensors.keys()];
  const index = new Map(names.map((name, i) => [name, i]));
  const at = (name: string) => index.get(name) as number;
  const tensors: PlanTensor[] = names.map((name) => {
    const [height, width, channels] = dims(fused, name);
    const { viewOf } = fused.tensors.get(name) as { viewOf: string | null };
    const storage = storages.get(name) as TensorStorage;
    return { name, height, width, channels, storage, viewOf: viewOf === null ? null : at(viewOf) };
  });
  const layout = new ArenaLayout();
  const fill: FillStep[] = [];
  let macs = 0;

  const emit = (op: FusedOp): PlanOp => {
    const [input, output] = [at(op.inputs[0]), at(op.output)];
    const target = tensors[output].storage;
    const bounds = clampOf(op, target);
    const ratio = (name: number) => scaleOf(tensors[name].storage) / scaleOf(target);
    const geometry = geometryOf(op, fused);
    macs += geometry.macs;
    if (op.kind !== 'other') {
      const bits = weightBits(op.node.name, precision, source.quantizer);
      const slices = placeLinear(layout, geometry.rows, geometry.columns, bits, mode);
      fill.push((arena, weights, corrections) => {
        const folded = foldedWeights(op, weights);
        const { name } = op.node;
        const bias = correctedBias(folded.bias, correctionOf(corrections, name, folded.rows));
        const layer = { name, ...folded, bias };
        if (mode === 'integer') fillInteger(arena, slices, layer, rule, tensors[input].storage, target);
        else fillFloat(arena, slices, layer, rule);
      });
      const residualAt = op.kind === 'linear' && op.residual !== null ? at(op.residual) : null;
      const residual = residualAt === null ? null : { tensor: residualAt, multiplier: Math.fround(ratio(residualAt)) };
      const base = { input, output, ...slices, residual, ...bounds };
      if (op.node.op === 'dense') return { op: 'dense', ...base };
      if (op.node.op === 'conv2d') return { op: 'conv2d', ...base, ...geometry.window };
      const multiplier = tensors[output].channels / tensors[input].channels;
      return { op: 'depthwise_conv2d', multiplier, ...base, ...geometry.window };
    }
    const inputs = op.inputs.map(at);
    const multipliers = inputs.map((i) => Math.fround(ratio(i)));
    switch (op.node.op) {
      case 'max_pool':
        return { op: 'max_pool', input, output, ...geometry.window };
      case 'avg_pool':
      case 'global_avg_pool':
        return { op: 'avg_pool', input, output, ratio: ratio(input), ...geometry.window, ...bounds };
      case 'add':
        return { op: 'add', inputs, output, multipliers, ...bounds };
      case 'concat': {
        const axis = op.node.axis;
        const inner = inputs.map((i) => innerSize(tensors[i], axis, op.node.shape.length));
        const outer = op.node.shape.slice(0, axis).reduce((a, b) => a * b, 1);
        return { op: 'concat', inputs, output, outer, inner, multipliers, ...bounds };
      }
      case 'zero_pad':
        return { op: 'pad', input, output, top: op.node.top, left: op.node.left };
      case 'relu':
        return { op: 'requantize', input, output, multiplier: multipliers[0], ...bounds };
      default:
        throw new Error(`plan: no op for ${op.node.op}`);
    }
  };
  const ops = fused.ops.map(emit);
  let output = at(fused.output);
  if (tensors[output].storage.kind !== 'float32' || tensors[output].viewOf !== null || output === at(fused.input)) {
    // What ends in codes leaves as float32 all the same.
    const multiplier = Math.fround(scaleOf(tensors[output].storage));
    const bounds = { clampMin: Number.NEGATIVE_INFINITY, clampMax: Number.POSITIVE_INFINITY };
    ops.push({ op: 'requantize', input: output, output: tensors.length, multiplier, ...bounds });
    output = tensors.length;
    tensors.push({ ...tensors[at(fused.output)], name: LOGITS_NAME, storage: { kind: 'float32' }, viewOf: null });
  }
  const plan: Omit<Plan, 'arena'> = { precision, mode, tensors, ops, input: at(fused.input), output, macs };
  return { plan, layout, fill };
}

/** Elements of a tensor from the axis on. */
function innerSize(tensor: PlanTensor, axis: number, rank: number): number {
  const shape = [tensor.height, tensor.width, tensor.channels].slice(-rank);
  return shape.slice(axis).reduce((a, b) => a * b, 1);
}

function scaleOf(storage: TensorStorage): number {
  return storage.kind === 'codes' ? storage.scale : 1;
}

/** The op's bounds in units of its output: of q − zero point for codes, of the value for floats. */
function clampOf(op: FusedOp, target: TensorStorage): { clampMin: number; clampMax: number } {
  const { low, high } = op.bounds;
  if (target.kind !== 'codes') return { clampMin: low, clampMax: high };
  const { bits, scale, zeroPoint } = target;
  return {
    clampMin: Math.max(-zeroPoint, low === 0 ? 0 : -zeroPoint),
    clampMax: Math.min(
      2 ** bits - 1 - zeroPoint,
      high === Number.POSITIVE_INFINITY ? 255 : roundHalfEven(high / scale),
    ),
  };
}
