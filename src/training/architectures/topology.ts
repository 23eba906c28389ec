/** Words to write a TF.js Layers `model.json` topology with, as its converter would. */
import { layersDocument } from '../../model/export.js';

interface LayerDocument {
  class_name: string;
  config: Record<string, unknown>;
}

/**
 * Channels or units of a layer at a width: the architecture's own number at 1, else the nearest multiple of 4 (the size of
 * the groups that engines work in), 4 at least.
 */
export function scaled(channels: number, width: number): number {
  return width === 1 ? channels : Math.max(4, 4 * Math.round((channels * width) / 4));
}

export function sequential(
  name: string,
  inputShape: readonly number[],
  layers: LayerDocument[],
): Record<string, unknown> {
  const [first, ...rest] = layers;
  const batch_input_shape = [null, ...inputShape];
  const all = [{ ...first, config: { ...first.config, batch_input_shape, dtype: 'float32' } }, ...rest];
  return layersDocument('Sequential', { name, layers: all });
}

/** A layer that stands in a functional net, and what can come after it. */
export interface Placed {
  to(layer: LayerDocument): Placed;
  /** A layer of two inputs: this one first. */
  with(other: Placed, layer: LayerDocument): Placed;
  readonly name: string;
}

/** @param build places layers one after the other, and gives back the last */
export function functional(
  name: string,
  inputShape: readonly number[],
  build: (input: Placed) => Placed,
): Record<string, unknown> {
  const layers: Record<string, unknown>[] = [];
  const place = (layer: LayerDocument, inputs: Placed[]): Placed => {
    const named = layer.config.name as string;
    const calls = inputs.length === 0 ? [] : [inputs.map((input) => [input.name, 0, 0, {}])];
    layers.push({ ...layer, name: named, inbound_nodes: calls });
    const placed: Placed = {
      name: named,
      to: (next) => place(next, [placed]),
      with: (other, next) => place(next, [placed, other]),
    };
    return placed;
  };
  const batch_input_shape = [null, ...inputShape];
  const config = { name: 'image', batch_input_shape, dtype: 'float32', sparse: false };
  const input = place({ class_name: 'InputLayer', config }, []);
  const output = build(input);
  const ends = { input_layers: [[input.name, 0, 0]], output_layers: [[output.name, 0, 0]] };
  return layersDocument('Model', { name, layers, ...ends });
}

interface ConvolutionOptions {
  stride?: number;
  bias?: boolean;
}

export function conv2d(
  name: string,
  filters: number,
  size: number,
  padding: 'same' | 'valid',
  activation: string,
  options: ConvolutionOptions = {},
): LayerDocument {
  return { class_name: 'Conv2D', config: { name, filters, ...windows(size, padding, options), activation } };
}

/** One filter a channel, no activation function. */
export function depthwiseConv2d(
  name: string,
  size: number,
  padding: 'same' | 'valid',
  options: ConvolutionOptions = {},
): LayerDocument {
  const config = { name, depth_multiplier: 1, ...windows(size, padding, options), activation: 'linear' };
  return { class_name: 'DepthwiseConv2D', config };
}

function windows(size: number, padding: 'same' | 'valid', { stride = 1, bias = true }: ConvolutionOptions) {
  return {
    kernel_size: [size, size],
    strides: [stride, stride],
    padding,
    data_format: 'channels_last',
    dilation_rate: [1, 1],
    use_bias: bias,
  };
}

/** Keras's ε is 1e-3; the moving averages follow faster than its 0.99, for short trainings. */
export function batchNorm(name: string): LayerDocument {
  const config = { name, axis: -1, momentum: 0.9, epsilon: 1e-5, center: true, scale: true };
  return { class_name: 'BatchNormalization', config };
}

export function add(name: string): LayerDocument {
  return { class_name: 'Add', config: { name } };
}

export function globalAvgPool(name: string): LayerDocument {
  return { class_name: 'GlobalAveragePooling2D', config: { name, data_format: 'channels_last' } };
}

export function maxPool(name: string, size: number): LayerDocument {
  const pair = [size, size];
  const config = { name, pool_size: pair, strides: pair, padding: 'valid', data_format: 'channels_last' };
  return { class_name: 'MaxPooling2D', config };
}

export function flatten(name: string): LayerDocument {
  return { class_name: 'Flatten', config: { name } };
}

export function dense(name: string, units: number, activation: string): LayerDocument {
  return { class_name: 'Dense', config: { name, units, activation, use_bias: true } };
}

export function activation(name: string, activation: string): LayerDocument {
  return { class_name: 'Activation', config: { name, activation } };
}

/** As Keras writes it: a layer of its own. */
export function relu6(name: string): LayerDocument {
  return { class_name: 'ReLU', config: { name, max_value: 6 } };
}
