import { badModel, type Fields, listOf } from '../fields.js';
import type { GraphNode, Pair } from '../graph.js';
import { elements, sameShape } from '../shapes.js';
import { type Layer, unsupported } from '../topology.js';
import { channelsLast, image, one, type Source, several } from './operands.js';

export function input(layer: Layer, inputs: Source[]): GraphNode[] {
  const { config, name } = layer;
  if (inputs.length > 0) throw badModel(config.where, 'no inbound node', inputs.length);
  const field = config.get('batch_input_shape') === undefined ? 'batch_shape' : 'batch_input_shape';
  const shape = config.list(field).slice(1);
  if (shape.length === 0) throw config.error(field, '[batch, height, width, channels]');
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || (size as number) < 1) {
      throw config.error(field, 'a fixed size in every dimension but the batch');
    }
  }
  return [{ op: 'input', name, inputs: [], shape: shape as number[] }];
}

export function addition(layer: Layer, inputs: Source[]): GraphNode[] {
  const [first, ...rest] = several(layer, inputs);
  for (const { shape } of rest) {
    if (!sameShape(shape, first.shape)) {
      throw unsupported(
        layer,
        `expected inputs of one shape, got [${first.shape.join(', ')}] and [${shape.join(', ')}]`,
      );
    }
  }
  return [{ op: 'add', name: layer.name, inputs: inputs.map(({ name }) => name), shape: first.shape }];
}

export function concatenate(layer: Layer, inputs: Source[]): GraphNode[] {
  const [first, ...rest] = several(layer, inputs);
  const rank = first.shape.length;
  const given = layer.config.integer('axis', { fallback: -1 });
  const axis = given < 0 ? given + rank : given - 1;
  if (axis < 0 || axis >= rank) throw layer.config.error('axis', `-${rank} to -1 or 1 to ${rank}`);
  const shape = [...first.shape];
  for (const source of rest) {
    const others = source.shape.map((size, i) => (i === axis ? first.shape[i] : size));
    if (!sameShape(others, first.shape)) {
      throw badModel(
        `${layer.config.where}: inputs`,
        `[${first.shape.join(', ')}] but for axis ${given}`,
        source.shape,
      );
    }
    shape[axis] += source.shape[axis];
  }
  return [{ op: 'concat', name: layer.name, inputs: inputs.map(({ name }) => name), shape, axis }];
}

export function zeroPadding(layer: Layer, inputs: Source[]): GraphNode[] {
  const { config, name } = layer;
  const from = image(layer, inputs);
  const bounds = { min: 0, max: 65535 };
  const sides = listOf(config.get('padding'));
  const nested = sides?.length === 2 && sides.every((side) => listOf(side) !== undefined);
  const both = nested ? undefined : config.pair('padding', { ...bounds, fallback: [1, 1] });
  const side = (i: number): Pair => (both ? [both[i], both[i]] : pairOf(config, sides?.[i]));
  const [[top, bottom], [left, right]] = [side(0), side(1)];
  const [height, width, channels] = from.shape;
  const shape = [height + top + bottom, width + left + right, channels];
  return [{ op: 'zero_pad', name, inputs: [from.name], shape, top, bottom, left, right }];
}

export function flatten(layer: Layer, inputs: Source[]): GraphNode[] {
  const from = one(layer, inputs);
  channelsLast(layer);
  return [{ op: 'reshape', name: layer.name, inputs: [from.name], shape: [elements(from.shape)] }];
}

export function reshape(layer: Layer, inputs: Source[]): GraphNode[] {
  const { config, name } = layer;
  const from = one(layer, inputs);
  const target = config.list('target_shape');
  const total = elements(from.shape);
  const isOpen = (size: unknown) => size === -1 || size === null;
  const known = target.filter((size) => !isOpen(size));
  const fits = (size: unknown) => Number.isSafeInteger(size) && (size as number) >= 1;
  const product = known.every(fits) ? elements(known as number[]) : Number.NaN;
  const shape = target.map((size) => (isOpen(size) ? total / product : (size as number)));
  if (!shape.every(fits) || shape.length === 0 || known.length < target.length - 1 || elements(shape) !== total) {
    throw config.error('target_shape', `a shape of ${total} numbers for the input [${from.shape.join(', ')}]`);
  }
  return [{ op: 'reshape', name, inputs: [from.name], shape }];
}

function pairOf(config: Fields, value: unknown): Pair {
  const list = listOf(value) ?? [];
  const fits = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= 65535;
  if (list.length !== 2 || !list.every(fits)) throw config.error('padding', '[[top, bottom], [left, right]]');
  return [list[0] as number, list[1] as number];
}
