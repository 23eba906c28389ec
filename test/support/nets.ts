import type { Graph, GraphNode, Pair, Weights } from '../../src/model/graph.js';
import type { Random } from './random.js';

/** A random net of every op, with its weights: a chain with skips, joins and branches, built straight as a Graph. */
export interface RandomNet {
  graph: Graph;
  weights: Weights;
}

export function randomNet(random: Random, layers = 10): RandomNet {
  const weights: Weights = new Map();
  const input: GraphNode = {
    op: 'input',
    name: 'input',
    inputs: [],
    shape: [random.integer(5, 11), random.integer(5, 11), random.integer(1, 4)],
  };
  const nodes: GraphNode[] = [input];
  const add = (node: GraphNode): GraphNode => {
    nodes.push(node);
    return node;
  };
  const name = (op: string) => `${op}_${nodes.length}`;
  const weight = (key: string, shape: number[], scale: number, offset = 0): string => {
    const data = random
      .normals(
        shape.reduce((a, b) => a * b, 1),
        scale,
      )
      .map((v) => v + offset);
    weights.set(key, { shape, data });
    return key;
  };
  const conv = (from: GraphNode, depthwise: boolean, same = false): GraphNode => {
    const [h, w, c] = from.shape;
    const padding = same || random.chance(0.6) ? 'same' : 'valid';
    let kernelSize: Pair = [random.integer(1, 3), random.integer(1, 3)];
    let dilation: Pair = random.chance(0.25) ? [2, 2] : [1, 1];
    if (padding === 'valid') {
      dilation = [1, 1];
      kernelSize = [Math.min(kernelSize[0], h), Math.min(kernelSize[1], w)];
    }
    const strides: Pair = same || dilation[0] > 1 || random.chance(0.6) ? [1, 1] : [2, 2];
    const out = random.integer(1, 7);
    const last = depthwise ? random.integer(1, 2) : out;
    const channels = depthwise ? c * last : out;
    const n = name(depthwise ? 'dw' : 'conv');
    return add({
      op: depthwise ? 'depthwise_conv2d' : 'conv2d',
      name: n,
      inputs: [from.name],
      shape: [size(h, kernelSize[0], strides[0], padding), size(w, kernelSize[1], strides[1], padding), channels],
      kernel: weight(`${n}/kernel`, [...kernelSize, c, last], 0.5),
      bias: random.chance(0.7) ? weight(`${n}/bias`, [channels], 0.3) : null,
      kernelSize,
      strides,
      dilation,
      padding,
    });
  };
  const norm = (from: GraphNode): GraphNode => {
    const n = name('bn');
    const c = from.shape.at(-1) as number;
    const variance = weight(`${n}/variance`, [c], 0.2, 1);
    weights.get(variance)?.data.forEach((v, i, all) => {
      all[i] = Math.abs(v) + 0.1;
    });
    return add({
      op: 'batch_norm',
      name: n,
      inputs: [from.name],
      shape: from.shape,
      gamma: random.chance(0.8) ? weight(`${n}/gamma`, [c], 0.3, 1) : null,
      beta: random.chance(0.8) ? weight(`${n}/beta`, [c], 0.3) : null,
      mean: weight(`${n}/mean`, [c], 0.3),
      variance,
      epsilon: 1e-3,
      momentum: 0.99,
    });
  };
  const relu = (from: GraphNode): GraphNode =>
    add({ op: 'relu', name: name('relu'), inputs: [from.name], shape: from.shape, maxValue: random.pick([null, 6]) });
  const pool = (from: GraphNode): GraphNode => {
    const [h, w, c] = from.shape;
    const padding = random.pick(['same', 'valid'] as const);
    const poolSize: Pair = [Math.min(random.integer(1, 3), h), Math.min(random.integer(1, 3), w)];
    const strides: Pair = random.pick([[1, 1], [2, 2], poolSize]);
    return add({
      op: random.pick(['max_pool', 'avg_pool'] as const),
      name: name('pool'),
      inputs: [from.name],
      shape: [size(h, poolSize[0], strides[0], padding), size(w, poolSize[1], strides[1], padding), c],
      poolSize,
      strides,
      padding,
    });
  };
  const skip = (from: GraphNode): GraphNode => {
    let branch = conv(from, false, true);
    if (random.chance(0.5)) branch = norm(branch);
    let other = from;
    if (branch.shape[2] !== from.shape[2]) {
      other = conv(from, false, true);
      const c = Math.min(branch.shape[2], other.shape[2]);
      if (branch.shape[2] !== c || other.shape[2] !== c) return branch;
    }
    return add({ op: 'add', name: name('add'), inputs: [branch.name, other.name], shape: branch.shape });
  };
  const join = (from: GraphNode): GraphNode => {
    const parts = [conv(from, false, true), random.chance(0.5) ? relu(conv(from, true, true)) : from];
    const channels = parts.reduce((sum, p) => sum + p.shape[2], 0);
    const [h, w] = from.shape;
    return add({
      op: 'concat',
      name: name('concat'),
      inputs: parts.map((p) => p.name),
      shape: [h, w, channels],
      axis: 2,
    });
  };
  const pad = (from: GraphNode): GraphNode => {
    const [top, bottom, left, right] = [0, 0, 0, 0].map(() => random.integer(0, 2));
    const [h, w, c] = from.shape;
    return add({
      op: 'zero_pad',
      name: name('pad'),
      inputs: [from.name],
      shape: [h + top + bottom, w + left + right, c],
      top,
      bottom,
      left,
      right,
    });
  };
  const steps = [
    (f: GraphNode) => conv(f, false),
    (f: GraphNode) => conv(f, true),
    norm,
    relu,
    pool,
    skip,
    join,
    pad,
    (f: GraphNode) => add({ op: 'dropout', name: name('drop'), inputs: [f.name], shape: f.shape, rate: 0.5 }),
  ];
  let at: GraphNode = input;
  for (let i = 0; i < layers; i++) {
    at = at.shape[2] > 12 ? conv(at, false) : random.pick(steps)(at);
  }
  if (random.chance(0.5)) {
    at = add({ op: 'global_avg_pool', name: name('gap'), inputs: [at.name], shape: [at.shape[2]] });
  } else {
    const length = at.shape.reduce((a, b) => a * b, 1);
    at = add({ op: 'reshape', name: name('flatten'), inputs: [at.name], shape: [length] });
  }
  for (const units of [random.integer(2, 9), random.integer(2, 6)]) {
    const n = name('dense');
    const inputs = at.shape[0];
    at = add({
      op: 'dense',
      name: n,
      inputs: [at.name],
      shape: [units],
      kernel: weight(`${n}/kernel`, [inputs, units], 1 / Math.sqrt(inputs)),
      bias: weight(`${n}/bias`, [units], 0.2),
    });
    if (random.chance(0.5) && units === nodes.length) at = relu(at);
  }
  if (random.chance(0.5)) at = add({ op: 'softmax', name: name('softmax'), inputs: [at.name], shape: at.shape });
  return { graph: { nodes, input: 'input', output: at.name }, weights };
}

function size(input: number, kernel: number, stride: number, padding: 'same' | 'valid'): number {
  return padding === 'same' ? Math.ceil(input / stride) : Math.floor((input - kernel) / stride) + 1;
}
