/** What a training begins with: topology, graph and first weights, checked against the data set. */
import { ServiceError } from '../errors.js';
import { exportGraph } from '../model/export.js';
import type { Graph, Weights } from '../model/graph.js';
import { importGraph } from '../model/import.js';
import { foldGraph } from '../quantize/fold-graph.js';
import { builtIn } from './architectures/table.js';
import type { Dataset } from './datasets/dataset.js';
import type { StartingPoint, TrainRequest } from './request.js';
import { initialWeights, kernelNames } from './weights.js';

export interface Beginning {
  topology: Record<string, unknown>;
  graph: Graph;
  weights: Weights;
}

/** @throws ServiceError invalid_field where the net does not fit the data; those of the import */
export function beginning(request: TrainRequest, dataset: Dataset, start?: StartingPoint): Beginning {
  const first = start ?? fromScratch(request, dataset);
  const { topology, graph, weights } = request.fold_batch_norm ? folded(first) : first;
  const field = start ? 'from' : 'architecture';
  const input = graph.nodes.find((node) => node.name === graph.input)?.shape ?? [];
  expectShape(field, `input of data set ${dataset.name}`, dataset.inputShape, input);
  const output = graph.nodes.find((node) => node.name === graph.output)?.shape ?? [];
  expectShape(field, `output for the classes of data set ${dataset.name}`, [dataset.labels.length], output);
  if (kernelNames(graph).length === 0) {
    throw new ServiceError('invalid_field', `${field}: expected a net with a convolution or dense layer, got none`, {
      field,
    });
  }
  return { topology, graph, weights };
}

function folded({ graph, weights }: Beginning): Beginning {
  const net = foldGraph(graph, weights);
  return { ...net, topology: exportGraph(net.graph) };
}

function fromScratch(request: TrainRequest, dataset: Dataset): Beginning {
  const { architecture, width, seed } = request;
  const topology =
    typeof architecture === 'string'
      ? builtIn(architecture, dataset.inputShape, dataset.labels.length, width)
      : withoutWeights(architecture);
  const graph = importGraph(topology);
  return { topology, graph, weights: initialWeights(graph, seed) };
}

/** Training from scratch has no use for the weights that a topology's file may speak of. */
function withoutWeights({ weightsManifest: _, ...topology }: Record<string, unknown>): Record<string, unknown> {
  return topology;
}

/** @throws ServiceError invalid_field where two shapes differ */
export function expectShape(field: string, what: string, expected: readonly number[], actual: readonly number[]): void {
  if (expected.length === actual.length && expected.every((n, i) => n === actual[i])) return;
  throw new ServiceError(
    'invalid_field',
    `${field}: expected shape [${expected.join(', ')}], the ${what}, got [${actual.join(', ')}]`,
    { field, expected, actual },
  );
}
