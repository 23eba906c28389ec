import type { GraphNode } from '../graph.js';
import type { Layer } from '../topology.js';
import { image, paddingOf, type Source, slide } from './operands.js';

export function pool(layer: Layer, inputs: Source[], op: 'max_pool' | 'avg_pool'): GraphNode[] {
  const from = image(layer, inputs);
  const poolSize = layer.config.pair('pool_size', { fallback: [2, 2] });
  const strides = layer.config.pair('strides', { fallback: poolSize });
  const padding = paddingOf(layer);
  const [height, width] = slide(layer, from.shape, poolSize, strides, [1, 1], padding);
  const shape = [height, width, from.shape[2]];
  return [{ op, name: layer.name, inputs: [from.name], shape, poolSize, strides, padding }];
}

export function globalAveragePooling(layer: Layer, inputs: Source[]): GraphNode[] {
  const from = image(layer, inputs);
  const channels = from.shape[2];
  const shape = layer.config.boolean('keepdims', false) ? [1, 1, channels] : [channels];
  return [{ op: 'global_avg_pool', name: layer.name, inputs: [from.name], shape }];
}
