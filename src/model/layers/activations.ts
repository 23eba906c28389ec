import { isObject } from '../fields.js';
import type { GraphNode } from '../graph.js';
import { type Layer, unsupported } from '../topology.js';
import { one, type Source } from './operands.js';

export function relu(layer: Layer, inputs: Source[]): GraphNode[] {
  const { config, name } = layer;
  const from = one(layer, inputs);
  const maxValue = config.number<number | null>('max_value', { min: 0, fallback: null });
  for (const field of ['negative_slope', 'threshold']) {
    if (config.number(field, { fallback: 0 }) !== 0) throw unsupported(layer, `${field} other than 0 is not supported`);
  }
  if (maxValue === 0) throw unsupported(layer, 'max_value 0 is not supported; expected more than 0, or none');
  return [{ op: 'relu', name, inputs: [from.name], shape: from.shape, maxValue }];
}

/** The node of an `activation` field, called `name`; none for linear. */
export function activation(layer: Layer, from: Source, name?: string): GraphNode[] {
  const given = layer.config.get('activation') ?? 'linear';
  // Keras 3 writes {class_name: "function", config: "relu"}.
  const kind = isObject(given) && typeof given.config === 'string' ? given.config : given;
  if (typeof kind !== 'string') throw layer.config.error('activation', 'a string');
  const base = { name: name ?? `${layer.name}/${kind}`, inputs: [from.name], shape: from.shape };
  switch (kind) {
    case 'linear':
      return [];
    case 'relu':
      return [{ op: 'relu', ...base, maxValue: null }];
    case 'relu6':
      return [{ op: 'relu', ...base, maxValue: 6 }];
    case 'softmax':
      return [{ op: 'softmax', ...base }];
    default:
      throw unsupported(
        layer,
        `activation "${kind.slice(0, 60)}" is not supported; expected linear, relu, relu6, softmax`,
      );
  }
}

export function softmax(layer: Layer, inputs: Source[]): GraphNode[] {
  const from = one(layer, inputs);
  const axis = layer.config.integer('axis', { fallback: -1 });
  if (axis !== -1 && axis !== from.shape.length) throw unsupported(layer, `expected the last axis, got ${axis}`);
  return [{ op: 'softmax', name: layer.name, inputs: [from.name], shape: from.shape }];
}

export function dropout(layer: Layer, inputs: Source[]): GraphNode[] {
  const from = one(layer, inputs);
  const rate = layer.config.number('rate', { min: 0, max: 1 });
  if (rate === 1) throw layer.config.error('rate', 'less than 1');
  return [{ op: 'dropout', name: layer.name, inputs: [from.name], shape: from.shape, rate }];
}
