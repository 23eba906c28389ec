import { badModel } from '../fields.js';
import type { GraphNode, Padding, Pair } from '../graph.js';
import { windowOutput } from '../shapes.js';
import { type Layer, unsupported } from '../topology.js';
import type { WeightNames } from '../weight-names.js';

/** What a layer takes: the node that gives it, and its shape without the batch dimension. */
export interface Source {
  name: string;
  shape: number[];
}

/** Gives the nodes that stand for a layer, the last one bearing its output; none where the layer changes nothing. */
export type Convert = (layer: Layer, inputs: Source[], weights: WeightNames) => GraphNode[];

export function one(layer: Layer, inputs: Source[]): Source {
  if (inputs.length !== 1) throw badModel(`${layer.config.where}: inputs`, 'one', inputs.length);
  return inputs[0];
}

export function several(layer: Layer, inputs: Source[]): Source[] {
  if (inputs.length < 2) throw badModel(`${layer.config.where}: inputs`, 'two or more', inputs.length);
  return inputs;
}

export function image(layer: Layer, inputs: Source[]): Source {
  const from = one(layer, inputs);
  channelsLast(layer);
  if (from.shape.length !== 3) {
    throw badModel(`${layer.config.where}: input`, 'a shape [height, width, channels]', from.shape);
  }
  return from;
}

export function channelsLast(layer: Layer): void {
  const format = layer.config.get('data_format') ?? 'channels_last';
  if (typeof format !== 'string') throw layer.config.error('data_format', 'channels_last');
  if (format !== 'channels_last') {
    throw unsupported(layer, `data_format "${format.slice(0, 60)}" is not supported; expected channels_last`);
  }
}

export function paddingOf(layer: Layer): Padding {
  if (layer.config.get('padding') === undefined) return 'valid';
  return layer.config.choice('padding', ['same', 'valid']);
}

export function slide(
  layer: Layer,
  shape: number[],
  kernel: Pair,
  strides: Pair,
  dilation: Pair,
  padding: Padding,
): Pair {
  const along = (i: number) => windowOutput(shape[i], kernel[i], strides[i], dilation[i], padding);
  const output: Pair = [along(0), along(1)];
  if (output[0] < 1 || output[1] < 1) {
    const window = `${kernel.join('×')} with dilation ${dilation.join('×')}`;
    throw badModel(`${layer.config.where}: input`, `at least the window of ${window}`, shape);
  }
  return output;
}
