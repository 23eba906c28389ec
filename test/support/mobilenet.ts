/** MobileNetV2 with the layers, names and oddities of keras.applications, and random weights that are plausible. */
import { clippedMoments } from '../../src/quantize/normal.js';
import type { KerasLayer, KerasModel } from './keras-files.js';
import { Random } from './random.js';

/** Filters, stride, expansion of blocks 0 … 16. */
const BLOCKS = [
  [16, 1, 1],
  [24, 2, 6],
  [24, 1, 6],
  ...[2, 1, 1].map((stride) => [32, stride, 6]),
  ...[2, 1, 1, 1].map((stride) => [64, stride, 6]),
  ...[1, 1, 1].map((stride) => [96, stride, 6]),
  ...[2, 1, 1].map((stride) => [160, stride, 6]),
  [320, 1, 6],
];

interface Here {
  name: string;
  side: number;
  channels: number;
  /** Expected mean and variance by channel, so that batch norms get statistics that fit the weights. */
  mean: number[];
  variance: number[];
}

export interface MobileNetOptions {
  alpha?: number;
  side?: number;
  classes?: number;
  seed?: number;
  /** Of the 17, the first so many. */
  blocks?: number;
  /** Keras gives the logits a softmax. */
  softmax?: boolean;
}

export function mobileNetV2({
  alpha = 0.35,
  side = 224,
  classes = 1000,
  seed = 1,
  blocks = BLOCKS.length,
  softmax = true,
}: MobileNetOptions = {}): KerasModel {
  const random = new Random(seed);
  const layers: KerasLayer[] = [];
  const weights: KerasModel['weights'] = new Map();
  const put = (class_name: string, name: string, inputs: Here[], config: Record<string, unknown>) => {
    const inbound_nodes = inputs.length > 0 ? [inputs.map((input) => [input.name, 0, 0, {}])] : [];
    layers.push({ class_name, config: { name, trainable: true, dtype: 'float32', ...config }, name, inbound_nodes });
  };
  const draw = (name: string, shape: number[], of: (i: number) => number) => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => of(i));
    weights.set(name, { shape, data });
    return data;
  };

  const conv = (from: Here, name: string, filters: number, size: number, stride: number, padding: string): Here => {
    put('Conv2D', name, [from], { ...window(size, stride, padding), filters, groups: 1 });
    const inputs = size * size * from.channels;
    const kernel = draw(
      `${name}/kernel`,
      [size, size, from.channels, filters],
      () => random.normal() * Math.sqrt(2 / inputs),
    );
    return summed(from, name, outSide(from.side, size, stride, padding), filters, (f) =>
      Array.from({ length: inputs }, (_, k) => [kernel[k * filters + f], k % from.channels]),
    );
  };
  const depthwise = (from: Here, name: string, stride: number): Here => {
    const padding = stride === 1 ? 'same' : 'valid';
    put('DepthwiseConv2D', name, [from], { ...window(3, stride, padding), depth_multiplier: 1 });
    const kernel = draw(`${name}/depthwise_kernel`, [3, 3, from.channels, 1], () => random.normal() / 3);
    return summed(from, name, outSide(from.side, 3, stride, padding), from.channels, (c) =>
      Array.from({ length: 9 }, (_, k) => [kernel[k * from.channels + c], c]),
    );
  };
  const norm = (from: Here, name: string): Here => {
    put('BatchNormalization', name, [from], { axis: [3], momentum: 0.999, epsilon: 0.001, center: true, scale: true });
    const gamma = draw(`${name}/gamma`, [from.channels], () => 0.5 + random.next());
    const beta = draw(`${name}/beta`, [from.channels], () => random.normal() * 0.4);
    draw(`${name}/moving_mean`, [from.channels], (c) => from.mean[c]);
    draw(`${name}/moving_variance`, [from.channels], (c) => Math.max(from.variance[c], 0.01));
    return { ...from, name, mean: [...beta], variance: [...gamma].map((g) => g * g) };
  };
  const relu6 = (from: Here, name: string): Here => {
    put('ReLU', name, [from], { max_value: 6, negative_slope: 0, threshold: 0 });
    const moments = from.mean.map((m, c) => clippedMoments(m, Math.sqrt(from.variance[c]), 0, 6));
    return { ...from, name, mean: moments.map((m) => m.mean), variance: moments.map((m) => m.variance) };
  };
  /** What a stride of 2 with valid padding needs to be that of same. */
  const pad = (from: Here, name: string): Here => {
    const before = from.side % 2;
    const both = [before, 1];
    put('ZeroPadding2D', name, [from], { padding: [both, both], data_format: 'channels_last' });
    return { ...from, name, side: from.side + before + 1 };
  };

  put('InputLayer', 'input_1', [], { batch_input_shape: [null, side, side, 3], sparse: false, ragged: false });
  let at: Here = { name: 'input_1', side, channels: 3, mean: [0, 0, 0], variance: [1 / 3, 1 / 3, 1 / 3] };
  at = conv(pad(at, 'Conv1_pad'), 'Conv1', divisible(32 * alpha), 3, 2, 'valid');
  at = relu6(norm(at, 'bn_Conv1'), 'Conv1_relu');
  for (const [id, [filters, stride, expansion]] of BLOCKS.slice(0, blocks).entries()) {
    const prefix = id === 0 ? 'expanded_conv_' : `block_${id}_`;
    const input = at;
    if (id > 0) {
      at = conv(at, `${prefix}expand`, expansion * at.channels, 1, 1, 'same');
      at = relu6(norm(at, `${prefix}expand_BN`), `${prefix}expand_relu`);
    }
    if (stride === 2) at = pad(at, `${prefix}pad`);
    at = relu6(norm(depthwise(at, `${prefix}depthwise`, stride), `${prefix}depthwise_BN`), `${prefix}depthwise_relu`);
    at = norm(conv(at, `${prefix}project`, divisible(filters * alpha), 1, 1, 'same'), `${prefix}project_BN`);
    if (stride === 1 && input.channels === at.channels) {
      put('Add', `${prefix}add`, [input, at], {});
      const sum = (key: 'mean' | 'variance') => at[key].map((v, c) => v + input[key][c]);
      at = { ...at, name: `${prefix}add`, mean: sum('mean'), variance: sum('variance') };
    }
  }
  at = relu6(
    norm(conv(at, 'Conv_1', alpha > 1 ? divisible(1280 * alpha) : 1280, 1, 1, 'same'), 'Conv_1_bn'),
    'out_relu',
  );
  put('GlobalAveragePooling2D', 'global_average_pooling2d', [at], { data_format: 'channels_last', keepdims: false });
  at = { ...at, name: 'global_average_pooling2d' };
  put('Dense', 'predictions', [at], { units: classes, activation: softmax ? 'softmax' : 'linear', use_bias: true });
  draw('predictions/kernel', [at.channels, classes], () => random.normal() * Math.sqrt(2 / at.channels));
  draw('predictions/bias', [classes], () => random.normal() * 0.1);
  return { name: `mobilenetv2_${alpha.toFixed(2)}_${side}`, layers, ends: ['input_1', 'predictions'], weights };
}

function window(size: number, stride: number, padding: string): Record<string, unknown> {
  const pairs = { kernel_size: [size, size], strides: [stride, stride], dilation_rate: [1, 1] };
  return { ...pairs, padding, data_format: 'channels_last', activation: 'linear', use_bias: false };
}

/** Of sums of independent numbers; `terms` gives weight and channel of each. */
function summed(from: Here, name: string, side: number, channels: number, terms: (row: number) => number[][]): Here {
  const rows = Array.from({ length: channels }, (_, row) => terms(row));
  const total = (of: (w: number, c: number) => number) =>
    rows.map((row) => row.reduce((sum, [w, c]) => sum + of(w, c), 0));
  const mean = total((w, c) => w * from.mean[c]);
  return { name, side, channels, mean, variance: total((w, c) => w * w * from.variance[c]) };
}

function outSide(side: number, size: number, stride: number, padding: string): number {
  return padding === 'same' ? Math.ceil(side / stride) : Math.floor((side - size) / stride) + 1;
}

/** Keras's _make_divisible by 8. */
function divisible(v: number): number {
  const near = Math.max(8, Math.floor((v + 4) / 8) * 8);
  return near < 0.9 * v ? near + 8 : near;
}
