import type { Tensor } from '@tensorflow/tfjs-core';
import type { GraphNode } from '../../model/graph.js';
import { conv2d, depthwiseConv2d } from './convolution.js';
import { dense } from './dense.js';
import type { Layer, LayerPass, PassContext } from './layer.js';
import { batchNorm } from './normalization.js';
import { avgPool, globalAvgPool, maxPool } from './pooling.js';
import { add, concat, dropout, identity, relu, reshape, zeroPad } from './shapes.js';

type Table = { [Op in GraphNode['op']]: Layer<Extract<GraphNode, { op: Op }>> };

/** Every kind of layer that a graph can have. The softmax is part of the loss, so here it passes the logits on. */
const LAYERS: Omit<Table, 'max_pool' | 'avg_pool'> & { max_pool: typeof maxPool; avg_pool: typeof avgPool } = {
  input: (_node, [x]) => identity(x),
  conv2d,
  depthwise_conv2d: depthwiseConv2d,
  dense,
  batch_norm: batchNorm,
  relu,
  max_pool: maxPool,
  avg_pool: avgPool,
  global_avg_pool: globalAvgPool,
  add,
  concat,
  zero_pad: zeroPad,
  reshape,
  dropout,
  softmax: (_node, [x]) => identity(x),
};

export function applyLayer(node: GraphNode, inputs: Tensor[], context: PassContext): LayerPass {
  return (LAYERS[node.op] as Layer)(node, inputs, context);
}
