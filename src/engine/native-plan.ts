import type { LayerCorrections } from '../model/corrections.js';
import { outline } from '../quantize/build.js';
import { quantizerChoice } from '../quantize/choice.js';
import { correctionOf } from '../quantize/fold.js';
import type { FusedGraph, FusedOp } from '../quantize/fuse.js';
import type { Window } from '../quantize/geometry.js';
import type { Plan, PlanOp, PlanTensor } from '../quantize/plan.js';
import type { Precision } from '../quantize/precision.js';
import type { QuantizerSource } from '../quantize/storage.js';

/** First words of a description; native/plan.cc reads it. */
const MAGIC = 0xb17d1a1;
const VERSION = 2;
const STORAGES = { codes: 0, float16: 1, float32: 2 } as const;
const OPS = {
  conv2d: 0,
  depthwise_conv2d: 1,
  dense: 2,
  max_pool: 3,
  avg_pool: 4,
  add: 5,
  concat: 6,
  pad: 7,
  requantize: 8,
} as const;
const RULES = { 'min-max': 0, 'squared-error': 1, 'p-2.4': 2 } as const;
const NONE = -1;

/** What the native side needs to build a variant, but the floats themselves. */
export interface Description {
  plan: Omit<Plan, 'arena'>;
  words: Float64Array;
  /** Names of the weights, in the order of the sources. */
  sources: string[];
  /** Of the layers that have some; their sources come after those of the weights. */
  corrections: Float32Array[];
  /** Name of each op's layer, for errors. */
  layers: string[];
}

/**
 * A plan as a list of numbers: ops, tensors and which weights go where.
 * @throws ServiceError bad_model as `buildPlan` does, but for the weights themselves
 */
export function describe(
  fused: FusedGraph,
  source: QuantizerSource,
  precision: Precision,
  given: LayerCorrections,
): Description {
  const { plan } = outline(fused, source, precision);
  const { clipRule } = quantizerChoice(source.quantizer, precision);
  const sources: string[] = [];
  const indexes = new Map<string, number>();
  const sourceOf = (name: string | null): number => {
    if (name === null) return NONE;
    let index = indexes.get(name);
    if (index === undefined) {
      index = sources.push(name) - 1;
      indexes.set(name, index);
    }
    return index;
  };
  const words: number[] = [];
  const corrections: Float32Array[] = [];
  /** Places of indices into `corrections`, to be moved behind the weights. */
  const correctedAt: number[] = [];
  for (const tensor of plan.tensors) pushTensor(words, tensor);
  plan.ops.forEach((op, i) => {
    pushOp(words, plan, op);
    const fusedOp = fused.ops[i];
    if (!('weights' in op) || fusedOp === undefined || fusedOp.kind === 'other') return;
    // Weights that are floats have none.
    words.push(RULES[clipRule ?? 'min-max']);
    const correction = correctionOf(given, fusedOp.node.name, op.weights.rows);
    if (correction !== null) correctedAt.push(words.length);
    words.push(correction === null ? NONE : corrections.push(correction) - 1);
    pushSources(words, fusedOp, sourceOf);
    if (op.op === 'depthwise_conv2d') words.push(op.multiplier);
    if (op.op !== 'dense') pushWindow(words, op);
  });
  for (const at of correctedAt) words[at] += sources.length;
  const head = [
    MAGIC,
    VERSION,
    plan.mode === 'float' ? 1 : 0,
    plan.tensors.length,
    plan.ops.length,
    plan.input,
    plan.output,
    sources.length + corrections.length,
  ];
  const layers = plan.ops.map((_, i) => fused.ops[i]?.node.name ?? 'logits');
  return { plan, words: Float64Array.from([...head, ...words]), sources, corrections, layers };
}

function pushTensor(words: number[], { height, width, channels, storage, viewOf }: PlanTensor): void {
  const { bits, scale, zeroPoint } = storage.kind === 'codes' ? storage : { bits: 0, scale: 1, zeroPoint: 0 };
  words.push(height, width, channels, STORAGES[storage.kind], bits, scale, zeroPoint, viewOf ?? NONE);
}

function pushWindow(words: number[], w: Window): void {
  words.push(w.kernelHeight, w.kernelWidth, w.strideHeight, w.strideWidth, w.dilationHeight, w.dilationWidth);
  words.push(w.padTop, w.padLeft);
}

function pushOp(words: number[], plan: Omit<Plan, 'arena'>, op: PlanOp): void {
  words.push(OPS[op.op]);
  if ('input' in op) words.push(op.input);
  words.push(op.output);
  if ('clampMin' in op) {
    const { storage } = plan.tensors[op.output];
    // Float plans clamp real values.
    const step = plan.mode === 'float' && storage.kind === 'codes' ? storage.scale : 1;
    words.push(op.clampMin * step, op.clampMax * step);
  }
  switch (op.op) {
    case 'conv2d':
    case 'depthwise_conv2d':
    case 'dense':
      words.push(op.residual?.tensor ?? NONE, op.residual?.multiplier ?? 0);
      words.push(op.weights.bits, op.weights.rows, op.weights.columns);
      break;
    case 'avg_pool':
      words.push(op.ratio);
      pushWindow(words, op);
      break;
    case 'max_pool':
      pushWindow(words, op);
      break;
    case 'add':
      words.push(op.inputs.length);
      op.inputs.forEach((input, i) => {
        words.push(input, op.multipliers[i]);
      });
      break;
    case 'concat':
      words.push(op.outer, op.inputs.length);
      op.inputs.forEach((input, i) => {
        words.push(input, op.inner[i], op.multipliers[i]);
      });
      break;
    case 'pad':
      words.push(op.top, op.left);
      break;
    case 'requantize':
      words.push(op.multiplier);
  }
}

/** affine, kernel, bias, gamma, beta, mean, variance, epsilon */
function pushSources(words: number[], op: FusedOp, sourceOf: (name: string | null) => number): void {
  if (op.kind === 'other') return;
  const norm = op.kind === 'affine' ? op.node : op.batchNorm;
  const [kernel, bias] = op.kind === 'affine' ? [null, null] : [op.node.kernel, op.node.bias];
  words.push(op.kind === 'affine' ? 1 : 0);
  for (const name of [kernel, bias, norm?.gamma, norm?.beta, norm?.mean, norm?.variance]) {
    words.push(sourceOf(name ?? null));
  }
  words.push(norm?.epsilon ?? 0);
}
