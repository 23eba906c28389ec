import type { Graph, GraphNode } from './graph.js';

/**
 * A graph as a TF.js Layers document, a functional model of one layer a node: `importGraph` of it gives the graph back, given
 * weights that are named as TF.js Layers names them (`layer/kernel`). What the graph was imported from is no part of it.
 */
export function exportGraph(graph: Graph, name = 'model'): Record<string, unknown> {
  const channels = new Map(graph.nodes.map(({ name, shape }) => [name, shape[shape.length - 1]]));
  const layers = graph.nodes.map((node) => {
    const [class_name, config] = layerOf(node, channels.get(node.inputs[0]) ?? 0);
    const calls = node.inputs.length === 0 ? [] : [node.inputs.map((input) => [input, 0, 0, {}])];
    return { class_name, config: { name: node.name, ...config }, name: node.name, inbound_nodes: calls };
  });
  const ends = { input_layers: [[graph.input, 0, 0]], output_layers: [[graph.output, 0, 0]] };
  return layersDocument('Model', { name, layers, ...ends });
}

/** What stands around a topology in a TF.js Layers document. */
export function layersDocument(class_name: string, config: Config): Record<string, unknown> {
  return {
    format: 'layers-model',
    generatedBy: 'bitdial',
    convertedBy: null,
    modelTopology: { class_name, config, keras_version: 'tfjs-layers 4.22.0', backend: 'tensor_flow.js' },
  };
}

type Config = Record<string, unknown>;
const data_format = 'channels_last';

/** @param inputs channels of the node's (first) input */
function layerOf(node: GraphNode, inputs: number): [string, Config] {
  switch (node.op) {
    case 'input':
      return ['InputLayer', { batch_input_shape: [null, ...node.shape], dtype: 'float32', sparse: false }];
    case 'conv2d':
      return ['Conv2D', { filters: node.shape[2], ...windowOf(node), use_bias: node.bias !== null }];
    case 'depthwise_conv2d':
      return [
        'DepthwiseConv2D',
        { depth_multiplier: node.shape[2] / inputs, ...windowOf(node), use_bias: node.bias !== null },
      ];
    case 'dense':
      return ['Dense', { units: node.shape[0], activation: 'linear', use_bias: node.bias !== null }];
    case 'batch_norm': {
      const { momentum, epsilon, gamma, beta } = node;
      return ['BatchNormalization', { axis: -1, momentum, epsilon, scale: gamma !== null, center: beta !== null }];
    }
    case 'relu':
      return ['ReLU', node.maxValue === null ? {} : { max_value: node.maxValue }];
    case 'max_pool':
    case 'avg_pool': {
      const { poolSize: pool_size, strides, padding } = node;
      const kind = node.op === 'max_pool' ? 'MaxPooling2D' : 'AveragePooling2D';
      return [kind, { pool_size, strides, padding, data_format }];
    }
    case 'global_avg_pool':
      return ['GlobalAveragePooling2D', { data_format, ...(node.shape.length === 3 ? { keepdims: true } : {}) }];
    case 'add':
      return ['Add', {}];
    case 'concat':
      return ['Concatenate', { axis: node.axis + 1 }];
    case 'zero_pad': {
      const { top, bottom, left, right } = node;
      const padding = [
        [top, bottom],
        [left, right],
      ];
      return ['ZeroPadding2D', { padding, data_format }];
    }
    case 'reshape':
      return ['Reshape', { target_shape: node.shape }];
    case 'dropout':
      return ['Dropout', { rate: node.rate }];
    case 'softmax':
      return ['Softmax', { axis: -1 }];
  }
}

function windowOf(node: Extract<GraphNode, { kernelSize: unknown }>): Config {
  const { kernelSize: kernel_size, strides, dilation: dilation_rate, padding } = node;
  return { kernel_size, strides, dilation_rate, padding, data_format, activation: 'linear' };
}
