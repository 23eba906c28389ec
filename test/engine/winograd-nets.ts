import type { Variant } from '../../src/engine/engine.js';
import type { NativeEngine } from '../../src/engine/native.js';
import type { GraphNode, Weights } from '../../src/model/graph.js';
import type { Plan } from '../../src/quantize/plan.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import type { RandomNet } from '../support/nets.js';
import { Random } from '../support/random.js';
import { calibrated, compare, findLibrary } from './native-nets.js';

const { library, skip: missing } = findLibrary();
export const skip =
  missing || (library?.isas().includes('avx512-vnni') ? false : 'only AVX-512 VNNI has the Winograd way');
/** BITDIAL_TEST_SHARE: a fraction of the cases, for runs under sanitizers. */
export const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);
export const WIDTHS: Width[] = [2, 3, 4, 5, 6, 7, 8];

/** Indices of the plan's 3×3 convolutions. */
export function convolutions(plan: Pick<Plan, 'ops'>): number[] {
  return plan.ops.flatMap((op, i) => (op.op === 'conv2d' && op.kernelHeight === 3 ? [i] : []));
}

/**
 * Random nets at every pair of widths, the answers of all engines held against the reference's.
 * @param seeds of the nets of a pair
 * @param look at what the first engine has built
 */
export async function comparePairs(
  engines: NativeEngine[],
  seeds: number[],
  look: (plan: Plan, variant: Variant, precision: Precision) => void,
) {
  for (const seed of seeds) {
    for (const weightBits of WIDTHS) {
      for (const activationBits of WIDTHS) {
        const random = new Random(seed + 10 * weightBits + activationBits);
        if (!random.chance(share)) continue;
        const net = calibrated(random, winogradNet(random, randomSizes(random)));
        const batch = random.pick([1, 1, 2, 3, 9, 17]);
        const precision: Precision = { weightBits, activationBits };
        const { plan, variants } = await compare(engines, net, precision, batch);
        look(plan, variants[0], precision);
        engines.forEach((engine, i) => {
          engine.release(variants[i]);
        });
      }
    }
  }
}

/** Weights of the 3×3 layers: at random, all the same, or of signs by turns, so that sums of nine are the largest there are. */
export type Fill = 'random' | 'same' | 'turns';

export interface Sizes {
  height: number;
  width: number;
  /** Output channels of the 1×1 layer, then of the 3×3 ones. */
  channels: number[];
  fill: Fill;
}

export function randomSizes(random: Random): Sizes {
  // Most are multiples of four, which the Winograd way takes; rows beyond whole blocks of 16 stay direct.
  const any = () => (random.chance(0.85) ? 4 * random.integer(1, 20) : random.integer(16, 70));
  const channels = [any()];
  // As many as before may have a residual.
  for (let layer = random.integer(2, 4); layer > 0; layer--) channels.push(random.chance(0.4) ? channels[0] : any());
  return { height: random.integer(3, 15), width: random.integer(3, 15), channels, fill: 'random' };
}

/**
 * A 1×1 convolution, then 3×3 ones of stride 1, of either padding, with and without an activation function (so zero points
 * are 0 or not), some of them with a residual; and a dense layer.
 */
export function winogradNet(random: Random, { height, width, channels, fill }: Sizes): RandomNet {
  const weights: Weights = new Map();
  const nodes: GraphNode[] = [{ op: 'input', name: 'input', inputs: [], shape: [height, width, 3] }];
  let at = nodes[0];
  const add = (node: GraphNode) => {
    nodes.push(node);
    at = node;
    return node;
  };
  const kernel = (name: string, shape: number[], how: Fill) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const rows = shape[shape.length - 1];
    // In a kernel of three columns the sign by turns is that of the tap.
    const tap = (i: number) => Math.floor((i * 9) / size);
    const data =
      how === 'random'
        ? random.normals(size, 2 / Math.sqrt(size / rows))
        : new Float32Array(size).map((_, i) => (how === 'turns' && tap(i) % 2 === 1 ? 0.1 : -0.1));
    weights.set(name, { shape, data });
    return name;
  };
  const convolve = (out: number, size: number, padding: 'same' | 'valid', how: Fill) => {
    const [h, w, depth] = at.shape;
    const name = `conv${nodes.length}`;
    const less = padding === 'valid' ? size - 1 : 0;
    weights.set(`${name}/b`, { shape: [out], data: random.normals(out, 0.2) });
    return add({
      op: 'conv2d',
      name,
      inputs: [at.name],
      shape: [h - less, w - less, out],
      kernel: kernel(`${name}/k`, [size, size, depth, out], how),
      bias: `${name}/b`,
      kernelSize: [size, size],
      strides: [1, 1],
      dilation: [1, 1],
      padding,
    });
  };
  const activate = () =>
    add({
      op: 'relu',
      name: `relu${nodes.length}`,
      inputs: [at.name],
      shape: at.shape,
      maxValue: random.pick([null, 6]),
    });

  const [first, ...others] = channels;
  convolve(first, 1, 'same', 'random');
  if (random.chance(0.5)) activate();
  for (const out of others) {
    const [h, w, depth] = at.shape;
    const from = at;
    const valid = Math.min(h, w) > 3 && random.chance(0.3);
    convolve(out, 3, valid ? 'valid' : 'same', fill);
    if (out === depth && !valid && random.chance(0.6)) {
      add({ op: 'add', name: `add${nodes.length}`, inputs: [at.name, from.name], shape: at.shape });
    }
    if (random.chance(0.7)) activate();
  }
  const length = at.shape.reduce((a, b) => a * b, 1);
  add({ op: 'reshape', name: 'flat', inputs: [at.name], shape: [length] });
  add({
    op: 'dense',
    name: 'dense',
    inputs: ['flat'],
    shape: [40],
    kernel: kernel('dense/k', [length, 40], 'random'),
    bias: null,
  });
  return { graph: { nodes, input: 'input', output: 'dense' }, weights };
}
