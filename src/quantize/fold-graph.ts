import type { FloatTensor, Graph, GraphNode, Weights } from '../model/graph.js';
import { foldedWeights } from './fold.js';
import { type FusedLinear, fuseGraph } from './fuse.js';

/**
 * The same net with every batch norm that serving folds already folded: its layer has the folded kernel and a bias, and the
 * batch norm is gone, so what trains is what is quantised. Batch norms that no layer can take in stay. Weights are named as
 * TF.js Layers names them.
 */
export function foldGraph(graph: Graph, weights: Weights): { graph: Graph; weights: Weights } {
  const linear = fuseGraph(graph).ops.filter((op): op is FusedLinear => op.kind === 'linear' && op.batchNorm !== null);
  const byLayer = new Map(linear.map((op) => [op.node.name, op]));
  // In its place stands what it took: the layer, or a dropout between them.
  const gone = new Map(linear.map(({ batchNorm }) => [batchNorm?.name as string, inputOf(graph, batchNorm?.name)]));
  const folded: Weights = new Map();
  const nodes: GraphNode[] = [];
  for (const node of graph.nodes) {
    if (gone.has(node.name)) continue;
    const inputs = node.inputs.map((name) => gone.get(name) ?? name);
    const op = byLayer.get(node.name);
    const source = op === undefined ? weightsOf(node, weights) : foldedOf(op, weights);
    nodes.push({ ...node, inputs, ...namesOf(node.name, source) } as GraphNode);
    for (const [field, tensor] of source) folded.set(`${node.name}/${STORED[field]}`, tensor);
  }
  const output = gone.get(graph.output) ?? graph.output;
  return { graph: { nodes, input: graph.input, output }, weights: folded };
}

function inputOf(graph: Graph, name: string | undefined): string {
  return graph.nodes.find((node) => node.name === name)?.inputs[0] as string;
}

/** Weight fields of nodes, and what TF.js Layers calls them. */
const STORED = {
  kernel: 'kernel',
  depthwise: 'depthwise_kernel',
  bias: 'bias',
  gamma: 'gamma',
  beta: 'beta',
  mean: 'moving_mean',
  variance: 'moving_variance',
} as const;
type Field = keyof typeof STORED;

function weightsOf(node: GraphNode, weights: Weights): Map<Field, FloatTensor> {
  const found = new Map<Field, FloatTensor>();
  const values = node as unknown as Record<string, string | null | undefined>;
  for (const field of ['kernel', 'bias', 'gamma', 'beta', 'mean', 'variance'] as const) {
    const name = values[field];
    if (typeof name !== 'string') continue;
    const kept = field === 'kernel' && node.op === 'depthwise_conv2d' ? 'depthwise' : field;
    found.set(kept, weights.get(name) as FloatTensor);
  }
  return found;
}

/** The folded layer, back in TF.js's layout: output channels last. */
function foldedOf(op: FusedLinear, weights: Weights): Map<Field, FloatTensor> {
  const { rows, columns, kernel, bias } = foldedWeights(op, weights);
  const data = new Float32Array(kernel.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) data[column * rows + row] = kernel[row * columns + column];
  }
  const { shape } = weights.get(op.node.kernel) as FloatTensor;
  const field = op.node.op === 'depthwise_conv2d' ? 'depthwise' : 'kernel';
  return new Map<Field, FloatTensor>([
    [field, { shape, data }],
    ['bias', { shape: [rows], data: bias }],
  ]);
}

function namesOf(layer: string, source: Map<Field, FloatTensor>): Record<string, string> {
  return Object.fromEntries(
    [...source.keys()].map((field) => [field === 'depthwise' ? 'kernel' : field, `${layer}/${STORED[field]}`]),
  );
}
