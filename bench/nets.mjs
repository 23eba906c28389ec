/**
 * The nets that are measured: TF.js Layers documents made here, with seeded random weights. Batch norms are taken as
 * folded, as every engine would fold them, so layers have a bias instead.
 */
import { importGraph } from '../dist/src/model/import.js';

/** @returns {() => number} uniform in [0, 1), by mulberry32 */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Numbers of mean 0 and the given deviation, near enough to a normal distribution. */
function normal(length, deviation, random) {
  const out = new Float32Array(length);
  for (let i = 0; i < length; i++) out[i] = (random() + random() + random() - 1.5) * 2 * deviation;
  return out;
}

/** Builds a document layer by layer; methods take and give the name of a layer. */
class Builder {
  layers = [];
  weights = new Map();
  #shapes = new Map();
  #random;

  constructor(shape, seed) {
    this.#random = uniform(seed);
    this.shape = shape;
    const config = { batch_input_shape: [null, ...shape], dtype: 'float32', name: 'input' };
    this.layers.push({ name: 'input', class_name: 'InputLayer', config, inbound_nodes: [] });
    this.#shapes.set('input', shape);
  }

  #add(class_name, from, shape, config = {}) {
    const name = `${class_name.toLowerCase()}_${this.layers.length}`;
    const inbound = [from].flat().map((input) => [input, 0, 0, {}]);
    this.layers.push({ name, class_name, config: { name, ...config }, inbound_nodes: [inbound] });
    this.#shapes.set(name, shape);
    return name;
  }

  #weights(name, kernel, dims, units, fanIn, gain) {
    const size = dims.reduce((a, b) => a * b, 1);
    this.weights.set(`${name}/${kernel}`, { shape: dims, data: normal(size, gain / Math.sqrt(fanIn), this.#random) });
    this.weights.set(`${name}/bias`, { shape: [units], data: normal(units, 0.05, this.#random) });
  }

  /** gain √2 keeps the size of what goes through a ReLU. */
  conv(from, filters, { size = 3, stride = 1, activation = 'linear', gain = Math.SQRT2 } = {}) {
    const [h, w, c] = this.#shapes.get(from);
    const window = {
      kernel_size: [size, size],
      strides: [stride, stride],
      padding: 'same',
      data_format: 'channels_last',
    };
    const shape = [Math.ceil(h / stride), Math.ceil(w / stride), filters];
    const name = this.#add('Conv2D', from, shape, { filters, ...window, activation, use_bias: true });
    this.#weights(name, 'kernel', [size, size, c, filters], filters, size * size * c, gain);
    return name;
  }

  depthwise(from, { stride = 1, activation = 'linear' } = {}) {
    const [h, w, c] = this.#shapes.get(from);
    const window = { kernel_size: [3, 3], strides: [stride, stride], padding: 'same', data_format: 'channels_last' };
    const shape = [Math.ceil(h / stride), Math.ceil(w / stride), c];
    const config = { depth_multiplier: 1, ...window, activation, use_bias: true };
    const name = this.#add('DepthwiseConv2D', from, shape, config);
    this.#weights(name, 'depthwise_kernel', [3, 3, c, 1], c, 9, Math.SQRT2);
    return name;
  }

  dense(from, units, activation = 'linear') {
    const [inputs] = this.#shapes.get(from);
    const name = this.#add('Dense', from, [units], { units, activation, use_bias: true });
    this.#weights(name, 'kernel', [inputs, units], units, inputs, activation === 'linear' ? 1 : Math.SQRT2);
    return name;
  }

  relu(from) {
    return this.#add('ReLU', from, this.#shapes.get(from));
  }

  sum(a, b) {
    return this.#add('Add', [a, b], this.#shapes.get(a));
  }

  maxPool(from) {
    const [h, w, c] = this.#shapes.get(from);
    const config = { pool_size: [2, 2], strides: [2, 2], padding: 'valid', data_format: 'channels_last' };
    return this.#add('MaxPooling2D', from, [h >> 1, w >> 1, c], config);
  }

  average(from) {
    const config = { data_format: 'channels_last' };
    return this.#add('GlobalAveragePooling2D', from, [this.#shapes.get(from)[2]], config);
  }

  flatten(from) {
    return this.#add('Flatten', from, [this.#shapes.get(from).reduce((a, b) => a * b, 1)]);
  }

  /** The net that ends in a layer. */
  finish(name, output) {
    const config = {
      name,
      layers: this.layers,
      input_layers: [['input', 0, 0]],
      output_layers: [[output, 0, 0]],
    };
    const modelTopology = {
      class_name: 'Model',
      config,
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
    };
    const document = { format: 'layers-model', modelTopology };
    const [outputs] = this.#shapes.get(output);
    return { name, document, weights: this.weights, graph: importGraph(document), shape: this.shape, outputs };
  }
}

/** He et al., 2016, the form for 32×32 images: 0.56 GMAC, 11.2 M weights. */
function resnet18() {
  const b = new Builder([32, 32, 3], 18);
  let at = b.conv('input', 64, { activation: 'relu' });
  for (const [filters, first] of [
    [64, 1],
    [128, 2],
    [256, 2],
    [512, 2],
  ]) {
    for (const stride of [first, 1]) {
      const inner = b.conv(at, filters, { stride, activation: 'relu' });
      const branch = b.conv(inner, filters, { gain: 0.6 });
      const skip = stride === 1 ? at : b.conv(at, filters, { size: 1, stride, gain: 1 });
      at = b.relu(b.sum(branch, skip));
    }
  }
  return b.finish('resnet18', b.dense(b.average(at), 10));
}

/** 2×128C3 – pool – 2×256C3 – pool – 2×512C3 – pool – 1024 – 10: the VGG-like net of the low-bit literature on CIFAR. */
function vgg() {
  const b = new Builder([32, 32, 3], 7);
  let at = 'input';
  for (const filters of [128, 256, 512]) {
    at = b.conv(at, filters, { activation: 'relu' });
    at = b.maxPool(b.conv(at, filters, { activation: 'relu' }));
  }
  return b.finish('vgg', b.dense(b.dense(b.flatten(at), 1024, 'relu'), 10));
}

/** Howard et al., 2017, for 32×32 images: depthwise 3×3 and pointwise layers with ReLU6. */
function mobilenet() {
  const b = new Builder([32, 32, 3], 1);
  let at = b.conv('input', 32, { activation: 'relu6' });
  for (const [filters, stride] of [
    [64, 1],
    [128, 2],
    [128, 1],
    [256, 2],
    [256, 1],
    [512, 2],
    ...Array.from({ length: 5 }, () => [512, 1]),
    [1024, 2],
    [1024, 1],
  ]) {
    at = b.depthwise(at, { stride, activation: 'relu6' });
    at = b.conv(at, filters, { size: 1, activation: 'relu6' });
  }
  return b.finish('mobilenet', b.dense(b.average(at), 10));
}

function dense4096() {
  const b = new Builder([4096], 4096);
  return b.finish('dense4096', b.dense('input', 4096));
}

/** One small layer on 32×32 colour images: what is left of a request is the service itself. Input range [-1, 1]. */
export function tiny() {
  const b = new Builder([32, 32, 3], 3);
  return b.finish('tiny', b.dense(b.flatten('input'), 10));
}

/** 784 – 4096 – 4096 – 10: 20 M weights, each used once for an image. */
export function mlp() {
  const b = new Builder([28, 28, 1], 784);
  const hidden = b.dense(b.dense(b.flatten('input'), 4096, 'relu'), 4096, 'relu');
  return b.finish('mlp', b.dense(hidden, 10));
}

/** `depth` equal 3×3 layers: the time of a layer is what four more of them add. */
export function stack(size, channels, depth) {
  const b = new Builder([size, size, channels], channels);
  let at = 'input';
  for (let i = 0; i < depth; i++) at = b.conv(at, channels, { activation: 'relu' });
  return b.finish(`stack${channels}x${depth}`, b.dense(b.average(at), 10));
}

export const NETS = { resnet18, vgg, mobilenet, dense4096 };

/** `batch` images of uniform noise in [-1, 1). */
export function images(net, batch, seed = 99) {
  const random = uniform(seed);
  const length = batch * net.shape.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length }, () => random() * 2 - 1);
}

/** Weights of the kernels, without biases. */
export function weightCount(net) {
  let count = 0;
  for (const { shape, data } of net.weights.values()) if (shape.length > 1) count += data.length;
  return count;
}
