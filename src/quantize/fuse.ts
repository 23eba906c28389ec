import type { BatchNormNode, Conv2dNode, DenseNode, DepthwiseConv2dNode, Graph, GraphNode } from '../model/graph.js';

/**
 * Fusing: the graph's nodes become the ops that an engine runs. Batch norm joins the layer before it, ReLU and ReLU6
 * become the clamp of the op before them, an addition joins the layer that gives one of its operands, and dropout and
 * the final softmax go. What is left of an op's result is the tensor that serving stores, under the name of the last
 * node that joined.
 */

/** Bounds on an op's real-valued result, from the activation function. */
export interface Bounds {
  low: number;
  high: number;
}

export type LinearNode = Conv2dNode | DepthwiseConv2dNode | DenseNode;

interface FusedBase {
  /** Names of the tensors it takes (after fusing). */
  inputs: string[];
  /** Name of the tensor it gives. */
  output: string;
  bounds: Bounds;
}
export interface FusedLinear extends FusedBase {
  kind: 'linear';
  node: LinearNode;
  batchNorm: BatchNormNode | null;
  /** Tensor added before the bounds. */
  residual: string | null;
}
/** A batch norm that nothing could take in: a depthwise 1×1 of its own. */
export interface FusedAffine extends FusedBase {
  kind: 'affine';
  node: BatchNormNode;
}
export interface FusedOther extends FusedBase {
  kind: 'other';
  node: Exclude<GraphNode, LinearNode | BatchNormNode>;
}
export type FusedOp = FusedLinear | FusedAffine | FusedOther;

/**
 * input: what the caller sends. activation: stored at the activation width. sum-operand: goes only into additions, held
 * at 8 bits at least, for it comes before any activation function. logits: float32.
 */
export type TensorRole = 'input' | 'activation' | 'sum-operand' | 'logits';

export interface FusedTensor {
  name: string;
  /** [height, width, channels]; vectors [1, 1, n]. */
  dims: [number, number, number];
  role: TensorRole;
  /** The tensor whose values (and storage) it shares under other dimensions: a reshape. */
  viewOf: string | null;
  /** The tensor whose scale and zero point it keeps: max pooling and padding make no new values. */
  storageOf: string | null;
  /** The tensor whose range it has: its own, or that of the concatenation which is its only use. */
  rangeOf: string;
}

export interface FusedGraph {
  ops: FusedOp[];
  /** In the order of creation: an op's inputs come before its output. */
  tensors: Map<string, FusedTensor>;
  input: string;
  output: string;
}

const UNBOUNDED: Bounds = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };

/** A shape as [height, width, channels]. */
export function imageDims(shape: number[]): [number, number, number] {
  const channels = shape.at(-1) ?? 1;
  const width = shape.at(-2) ?? 1;
  const height = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  return [height, width, channels];
}

function isLinear(node: GraphNode): node is LinearNode {
  return node.op === 'conv2d' || node.op === 'depthwise_conv2d' || node.op === 'dense';
}

/** Nodes whose result is their input's, value for value and shape for shape. */
function isIdentity(node: GraphNode, graph: Graph): boolean {
  return node.op === 'dropout' || (node.op === 'softmax' && node.name === graph.output);
}

/** The nodes that reach the output, less the identities; inputs renamed to match, and who takes each. */
function liveNodes(graph: Graph) {
  const byName = new Map(graph.nodes.map((n) => [n.name, n]));
  const resolve = (name: string): string => {
    const node = byName.get(name);
    if (!node) throw new Error(`graph: no node ${name}`);
    return isIdentity(node, graph) ? resolve(node.inputs[0]) : name;
  };
  let output = resolve(graph.output);
  // The answer is a list of logits, whatever shape a last reshape gives them.
  while (byName.get(output)?.op === 'reshape') output = resolve(byName.get(output)?.inputs[0] as string);
  const live = new Set<string>([graph.input]);
  const pending = [output];
  while (pending.length > 0) {
    const name = pending.pop() as string;
    if (live.has(name)) continue;
    live.add(name);
    for (const input of byName.get(name)?.inputs ?? []) pending.push(resolve(input));
  }
  const nodes = graph.nodes
    .filter((n) => live.has(n.name) && !isIdentity(n, graph))
    .map((n): GraphNode => ({ ...n, inputs: n.inputs.map(resolve) }));
  const consumers = new Map<string, GraphNode[]>(nodes.map((n) => [n.name, []]));
  for (const node of nodes) for (const input of node.inputs) consumers.get(input)?.push(node);
  return { nodes, consumers, output };
}

/** Fuses a graph. Reads no weights and knows no precision. */
export function fuseGraph(graph: Graph): FusedGraph {
  const { nodes, consumers, output } = liveNodes(graph);
  const taken = new Set<string>();
  /** Ops by the node that ends them, so that an op stands where all its inputs are there. */
  const opsByEnd = new Map<string, FusedOp>();
  /** The one node that takes `name`, if it is the only one and `name` is not the answer. */
  const only = (name: string): GraphNode | null => {
    const list = consumers.get(name) as GraphNode[];
    return list.length === 1 && name !== output ? list[0] : null;
  };
  const order = new Map(nodes.map((n, i) => [n.name, i]));
  const position = (name: string) => order.get(name) as number;

  for (const node of nodes) {
    if (taken.has(node.name) || node.op === 'input' || node.op === 'reshape') continue;
    let end: GraphNode = node;
    let batchNorm: BatchNormNode | null = null;
    let residual: string | null = null;
    const join = (next: GraphNode) => {
      taken.add(next.name);
      end = next;
    };
    if (isLinear(node)) {
      const next = only(end.name);
      if (next?.op === 'batch_norm') {
        batchNorm = next;
        join(next);
      }
      const sum = only(end.name);
      if (sum?.op === 'add' && sum.inputs.length === 2 && !taken.has(sum.name)) {
        const other = sum.inputs[0] === end.name ? sum.inputs[1] : sum.inputs[0];
        // Of two layers that could take the addition in, the later one does.
        if (other !== end.name && position(other) < position(end.name)) {
          residual = other;
          join(sum);
        }
      }
    }
    let bounds = UNBOUNDED;
    const next = node.op === 'max_pool' || node.op === 'zero_pad' ? null : only(end.name);
    if (node.op === 'relu') bounds = { low: 0, high: node.maxValue ?? Number.POSITIVE_INFINITY };
    else if (next?.op === 'relu') {
      bounds = { low: 0, high: next.maxValue ?? Number.POSITIVE_INFINITY };
      join(next);
    }
    const base = { inputs: node.inputs, output: end.name, bounds };
    if (isLinear(node)) opsByEnd.set(end.name, { kind: 'linear', node, batchNorm, residual, ...base });
    else if (node.op === 'batch_norm') opsByEnd.set(end.name, { kind: 'affine', node, ...base });
    else opsByEnd.set(end.name, { kind: 'other', node, ...base });
  }
  return assemble(nodes, opsByEnd, graph.input, output);
}

/** Puts ops and tensors into the order of the nodes and finds each tensor's role. */
function assemble(nodes: GraphNode[], opsByEnd: Map<string, FusedOp>, input: string, output: string): FusedGraph {
  const tensors = new Map<string, FusedTensor>();
  const ops: FusedOp[] = [];
  for (const node of nodes) {
    const op = opsByEnd.get(node.name);
    const isView = node.op === 'reshape';
    if (!op && !isView && node.op !== 'input') continue;
    const keeps = op?.node.op === 'max_pool' || op?.node.op === 'zero_pad';
    tensors.set(node.name, {
      name: node.name,
      dims: imageDims(node.shape),
      role: node.op === 'input' ? 'input' : 'activation',
      viewOf: isView ? node.inputs[0] : null,
      storageOf: keeps || isView ? node.inputs[0] : null,
      rangeOf: node.name,
    });
    if (op) ops.push(op);
  }
  const takers = new Map<string, FusedOp[]>();
  for (const op of ops) {
    for (const name of op.kind === 'linear' && op.residual ? [...op.inputs, op.residual] : op.inputs) {
      takers.set(name, [...(takers.get(name) ?? []), op]);
    }
  }
  const isView = (name: string) => [...tensors.values()].some((t) => t.storageOf === name);
  for (const op of ops) {
    const tensor = tensors.get(op.output) as FusedTensor;
    if (tensor.storageOf !== null) continue;
    const list = takers.get(op.output) ?? [];
    const onlyAdded = list.every(
      (t) => (t.kind === 'other' && t.node.op === 'add') || (t.kind === 'linear' && !t.inputs.includes(op.output)),
    );
    if (list.length > 0 && onlyAdded && op.bounds.low !== 0 && !isView(op.output)) tensor.role = 'sum-operand';
  }
  const last = tensors.get(output) as FusedTensor;
  if (last.storageOf === null && last.role !== 'input') last.role = 'logits';
  const isActivation = (tensor?: FusedTensor) => tensor?.role === 'activation';
  for (const [name, [taker, ...others]] of takers) {
    const joins = taker.node.op === 'concat' && others.length === 0 && !isView(name);
    const tensor = tensors.get(name) as FusedTensor;
    if (joins && isActivation(tensor) && isActivation(tensors.get(taker.output))) tensor.rangeOf = taker.output;
  }
  return { ops, tensors, input, output };
}

/**
 * The tensors that serving quantises at the activation width: what follows an activation function, or else the result
 * of a layer that has none. Not the input, not the logits, and neither pooling maxima nor padding, whose values are
 * another tensor's.
 */
export function activationTensors(graph: Graph): string[] {
  const { tensors } = fuseGraph(graph);
  return [...tensors.values()].filter((t) => t.role === 'activation' && t.storageOf === null).map((t) => t.name);
}
