import { describe, listOf } from '../fields.js';
import type { GraphNode, Pair } from '../graph.js';
import { type Layer, unsupported } from '../topology.js';
import type { WeightNames } from '../weight-names.js';
import { activation } from './activations.js';
import { image, one, paddingOf, type Source, slide } from './operands.js';

export function conv2d(layer: Layer, inputs: Source[], weights: WeightNames): GraphNode[] {
  const { config, name } = layer;
  const from = image(layer, inputs);
  const filters = config.integer('filters', { min: 1, max: 65535 });
  if (config.integer('groups', { fallback: 1 }) !== 1)
    throw unsupported(layer, 'groups other than 1 are not supported');
  const w = windowOf(layer, from.shape);
  const kernel = weights.claim(name, ['kernel'], [...w.kernelSize, from.shape[2], filters]);
  const shape = [w.height, w.width, filters];
  const { kernelSize, strides, dilation, padding } = w;
  const bias = biasOf(layer, weights, filters);
  const node: GraphNode = {
    op: 'conv2d',
    name,
    inputs: [from.name],
    shape,
    kernel,
    kernelSize,
    bias,
    strides,
    dilation,
    padding,
  };
  return [node, ...activation(layer, node)];
}

export function depthwiseConv2d(layer: Layer, inputs: Source[], weights: WeightNames): GraphNode[] {
  const { config, name } = layer;
  const from = image(layer, inputs);
  const multiplier = config.integer('depth_multiplier', { min: 1, max: 65535, fallback: 1 });
  if (config.integer('groups', { fallback: 1 }) !== 1)
    throw unsupported(layer, 'groups other than 1 are not supported');
  const { height, width, kernelSize, strides, dilation, padding } = windowOf(layer, from.shape);
  const channels = from.shape[2];
  const kernel = weights.claim(name, ['depthwise_kernel', 'kernel'], [...kernelSize, channels, multiplier]);
  const bias = biasOf(layer, weights, channels * multiplier);
  const node: GraphNode = {
    op: 'depthwise_conv2d',
    name,
    inputs: [from.name],
    shape: [height, width, channels * multiplier],
    kernel,
    kernelSize,
    bias,
    strides,
    dilation,
    padding,
  };
  return [node, ...activation(layer, node)];
}

/** On an image: the same sum at every position, so a 1×1 convolution. */
export function dense(layer: Layer, inputs: Source[], weights: WeightNames): GraphNode[] {
  const { config, name } = layer;
  const from = one(layer, inputs);
  const rank = from.shape.length;
  if (rank !== 1 && rank !== 3) {
    throw unsupported(
      layer,
      `expected an input [features] or [height, width, channels], got [${from.shape.join(', ')}]`,
    );
  }
  const units = config.integer('units', { min: 1, max: 2 ** 24 });
  const matrix = [from.shape[rank - 1], units];
  const kernel = weights.claim(name, ['kernel'], rank === 1 ? matrix : [1, 1, ...matrix], matrix);
  const base = { name, inputs: [from.name], shape: [...from.shape.slice(0, -1), units], kernel };
  const bias = biasOf(layer, weights, units);
  const unit = {
    kernelSize: [1, 1] as Pair,
    strides: [1, 1] as Pair,
    dilation: [1, 1] as Pair,
    padding: 'valid' as const,
  };
  const node: GraphNode = rank === 1 ? { op: 'dense', ...base, bias } : { op: 'conv2d', ...base, bias, ...unit };
  return [node, ...activation(layer, node)];
}

export function batchNormalization(layer: Layer, inputs: Source[], weights: WeightNames): GraphNode[] {
  const { config, name } = layer;
  const from = one(layer, inputs);
  const rank = from.shape.length;
  const [axis = -1, ...others] = listOf(config.get('axis')) ?? [config.get('axis')];
  if (others.length > 0 || (axis !== -1 && axis !== rank)) {
    throw unsupported(layer, `expected axis -1 or ${rank} (the last), got ${describe(config.get('axis'))}`);
  }
  const channels = [from.shape[rank - 1]];
  const claim = (field: string) => weights.claim(name, [field], channels);
  return [
    {
      op: 'batch_norm',
      name,
      inputs: [from.name],
      shape: from.shape,
      gamma: config.boolean('scale', true) ? claim('gamma') : null,
      beta: config.boolean('center', true) ? claim('beta') : null,
      mean: claim('moving_mean'),
      variance: claim('moving_variance'),
      epsilon: config.number('epsilon', { min: 0, fallback: 1e-3 }),
      momentum: config.number('momentum', { min: 0, max: 1, fallback: 0.99 }),
    },
  ];
}

function windowOf(layer: Layer, shape: number[]) {
  const { config } = layer;
  const kernelSize = config.pair('kernel_size');
  const strides = config.pair('strides', { fallback: [1, 1] });
  const dilation = config.pair('dilation_rate', { fallback: [1, 1] });
  const padding = paddingOf(layer);
  const [height, width] = slide(layer, shape, kernelSize, strides, dilation, padding);
  return { kernelSize, strides, dilation, padding, height, width };
}

function biasOf(layer: Layer, weights: WeightNames, size: number): string | null {
  return layer.config.boolean('use_bias', true) ? weights.claim(layer.name, ['bias'], [size]) : null;
}
