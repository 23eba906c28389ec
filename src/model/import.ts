import { badModel, Fields } from './fields.js';
import type { Graph, GraphNode } from './graph.js';
import type { Source } from './layers/operands.js';
import { LAYERS } from './layers.js';
import { elements, MAX_ELEMENTS } from './shapes.js';
import { type Layer, readTopology, type Topology, unsupported } from './topology.js';
import { WeightNames } from './weight-names.js';
import { parseWeightsManifest } from './weights-manifest.js';

export interface ImportedModel {
  graph: Graph;
  /** By name: the shape of every weight that the graph uses. */
  weightShapes: Map<string, number[]>;
  /** By name: the shape in TF.js Layers files where it is another one: [in, out] of a Dense layer on an image. */
  storedShapes: Map<string, number[]>;
}

/**
 * Reads a TF.js Layers `model.json` document. With a `weightsManifest` the weights are named as it names them, and their
 * shapes are checked; without one they are named as TF.js Layers would (`conv/kernel`).
 *
 * @throws ServiceError `unsupported_layer` (extra: layer, class_name) or `bad_model`
 */
export function importGraph(document: unknown): Graph {
  return importModel(document).graph;
}

/** {@link importGraph}, and the shapes of the weights. */
export function importModel(document: unknown): ImportedModel {
  const topology = readTopology(document);
  const groups = parseWeightsManifest(new Fields(document, 'model.json').get('weightsManifest'));
  const weights = new WeightNames(
    groups?.flatMap((group) => group.weights),
    topology.layers,
  );
  const nodes = new Map<string, GraphNode>();
  const outputs = new Map<string, Source>();
  for (const layer of inOrder(topology)) {
    if (layer.className === 'InputLayer' && layer.name !== topology.input) {
      throw badModel('model.json', `one input, "${topology.input}"`, layer.name);
    }
    const convert = LAYERS.get(layer.className);
    if (convert === undefined) throw unsupported(layer, 'this layer is not supported');
    // Inputs come first in topological order, so each has its output by now.
    const inputs = layer.inputs.map((name) => outputs.get(name) as Source);
    const made = convert(layer, inputs, weights);
    for (const node of made) {
      if (nodes.has(node.name)) throw badModel('model.json: layers', 'names that differ', node.name);
      if (!(elements(node.shape) <= MAX_ELEMENTS)) {
        throw badModel(layer.config.where, `an output of at most ${MAX_ELEMENTS} numbers`, node.shape);
      }
      nodes.set(node.name, node);
    }
    outputs.set(layer.name, made.at(-1) ?? inputs[0]);
  }
  const output = outputs.get(topology.output) as Source;
  checkInput(topology, nodes);
  for (const layer of topology.layers.values()) softmaxLast(layer, nodes, output.name);
  const graph = { nodes: [...nodes.values()], input: topology.input, output: output.name };
  return { graph, weightShapes: weights.shapes, storedShapes: weights.stored };
}

/** The layers that the output needs, each after its inputs; a stack of its own, as a document can be deeper than ours. */
function inOrder({ layers, output }: Topology): Layer[] {
  const order: Layer[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const find = (name: string, by: string): Layer => {
    const layer = layers.get(name);
    if (layer === undefined) throw badModel(by, 'the name of a layer', name);
    return layer;
  };
  const stack = [{ layer: find(output, 'model.json: output_layers'), next: 0 }];
  state.set(output, 'open');
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    const { layer } = top;
    if (top.next === layer.inputs.length) {
      state.set(layer.name, 'done');
      order.push(layer);
      stack.pop();
      continue;
    }
    const input = find(layer.inputs[top.next++], `layer "${layer.name}": inbound_nodes`);
    const seen = state.get(input.name);
    if (seen === 'open') throw badModel(`layer "${layer.name}": inbound_nodes`, 'no cycle', input.name);
    if (seen === undefined) {
      state.set(input.name, 'open');
      stack.push({ layer: input, next: 0 });
    }
  }
  return order;
}

function checkInput({ layers, input }: Topology, nodes: Map<string, GraphNode>): void {
  const layer = layers.get(input);
  if (layer?.className !== 'InputLayer') throw badModel('model.json: input_layers', 'the name of an InputLayer', input);
  if (!nodes.has(input)) throw badModel('model.json: output_layers', `an output that depends on "${input}"`, undefined);
  if (nodes.size === 1) throw badModel('model.json: layers', 'a layer that computes something', undefined);
}

/** Answers take the softmax of the logits in float64 themselves, so there is none elsewhere in a graph. */
function softmaxLast(layer: Layer, nodes: Map<string, GraphNode>, output: string): void {
  for (const name of [layer.name, `${layer.name}/softmax`]) {
    if (nodes.get(name)?.op === 'softmax' && name !== output) {
      throw unsupported(layer, 'softmax is only supported as the last layer');
    }
  }
}
