import { ServiceError } from '../errors.js';
import type { Graph, GraphNode, Weights } from './graph.js';
import { elements, sameShape } from './shapes.js';

/**
 * Checks that the weights hold every tensor that the graph names, in its shape.
 * @throws ServiceError `bad_model`
 */
export function checkWeights(graph: Graph, weights: Weights): void {
  const shapes = new Map(graph.nodes.map((node) => [node.name, node.shape]));
  for (const node of graph.nodes) {
    for (const [name, shape] of weightShapes(node, shapes.get(node.inputs[0]) ?? [])) {
      const tensor = weights.get(name);
      const expected = `expected shape [${shape.join(', ')}]`;
      if (tensor === undefined) throw new ServiceError('bad_model', `weight "${name}": ${expected}, got nothing`);
      if (!sameShape(tensor.shape, shape)) {
        throw new ServiceError('bad_model', `weight "${name}": ${expected}, got [${tensor.shape.join(', ')}]`);
      }
      if (tensor.data.length !== elements(shape)) {
        throw new ServiceError(
          'bad_model',
          `weight "${name}": expected ${elements(shape)} numbers, got ${tensor.data.length}`,
        );
      }
    }
  }
}

/** Name and shape of every weight of a node whose (first) input has the shape `from`. */
function weightShapes(node: GraphNode, from: number[]): [string, number[]][] {
  const channels = node.shape[node.shape.length - 1];
  const given = from[from.length - 1];
  switch (node.op) {
    case 'conv2d':
      return named([node.kernel, [...node.kernelSize, given, channels]], [node.bias, [channels]]);
    case 'depthwise_conv2d':
      return named([node.kernel, [...node.kernelSize, given, channels / given]], [node.bias, [channels]]);
    case 'dense':
      return named([node.kernel, [given, channels]], [node.bias, [channels]]);
    case 'batch_norm':
      return named(...[node.gamma, node.beta, node.mean, node.variance].map((n): Entry => [n, [channels]]));
    default:
      return [];
  }
}

type Entry = [string | null, number[]];

function named(...entries: Entry[]): [string, number[]][] {
  return entries.filter((entry): entry is [string, number[]] => entry[0] !== null);
}
