import assert from 'node:assert/strict';
import { calibrate } from '../../src/engine/calibration.js';
import type { Variant, VariantSource } from '../../src/engine/engine.js';
import type { NativeEngine } from '../../src/engine/native.js';
import { loadLibrary, type NativeLibrary } from '../../src/engine/native-library.js';
import { runPlan } from '../../src/engine/reference.js';
import { encodeCorrections } from '../../src/model/corrections.js';
import type { GraphNode, Weights } from '../../src/model/graph.js';
import type { ClipRule } from '../../src/model/manifest.js';
import { buildPlan } from '../../src/quantize/build.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import { isInteger, type Precision, precisionKey } from '../../src/quantize/precision.js';
import { type RandomNet, randomNet } from '../support/nets.js';
import { Random } from '../support/random.js';

/** The addon, or null with the reason why tests of it are skipped. */
export function findLibrary(): { library: NativeLibrary | null; skip: string | false } {
  try {
    return { library: loadLibrary(), skip: false };
  } catch (error) {
    return { library: null, skip: `the addon is not built: npm run build:native (${(error as Error).message})` };
  }
}

export interface TestNet {
  source: VariantSource;
  /** Random images in the input range. */
  draw(batch: number): Float32Array;
  random: Random;
}

/** A random calibrated net; or one of the given convolutions on a 17×15×3 image. */
export function testNet(seed: number, layers = 8, convolutions: Convolution[] = []): TestNet {
  const random = new Random(seed);
  return calibrated(
    random,
    convolutions.length > 0 ? chain(random, convolutions) : randomNet(random, random.integer(1, layers)),
  );
}

/** A net with ranges from random images. */
export function calibrated(random: Random, { graph, weights }: RandomNet): TestNet {
  const shape = graph.nodes[0].shape as [number, number, number];
  const size = shape.reduce((a, b) => a * b, 1);
  const low = random.pick([0, -1]);
  const input = { shape, range: [low, 1] as [number, number], resize: 'fill' as const };
  const draw = (batch: number) => Float32Array.from({ length: batch * size }, () => low + random.next() * (1 - low));
  const ranges = calibrate(graph, weights, input, [{ input: draw(2), batch: 2 }]);
  const source: VariantSource = {
    graph,
    folder: '',
    manifest: { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } },
    readWeights: async () => weights,
  };
  return { source, draw, random };
}

/** Answers of some engines, held against the reference's to the bit. @returns the plan and the engines' variants */
export async function compare(engines: NativeEngine[], net: TestNet, precision: Precision, batch: number) {
  const { source, draw } = net;
  const plan = buildPlan(source.graph, await source.readWeights(), source.manifest, precision);
  const input = draw(batch);
  const want = Buffer.from(runPlan(plan, input, batch).buffer);
  const variants: Variant[] = [];
  for (const engine of engines) {
    const variant = await engine.build(source, precision);
    const { logits } = await engine.run(variant, input, batch);
    assert.ok(
      Buffer.from(logits.buffer).equals(want),
      `${engine.name}: weights ${precision.weightBits}, activations ${precision.activationBits} bits, batch ${batch}`,
    );
    variants.push(variant);
  }
  return { plan, variants };
}

/** Additions that join no layer: of a convolution and its maxima, two and three operands, the last one the answer. */
export function additionNet(random: Random): RandomNet {
  const channels = random.integer(1, 40);
  const { graph, weights } = chain(random, [{ channels, kernel: 3, stride: random.integer(1, 3) }]);
  const { nodes } = graph;
  const { name, shape } = nodes[nodes.length - 1];
  const pool = { poolSize: [2, 2] as [number, number], strides: [1, 1] as [number, number], padding: 'same' as const };
  nodes.push({ op: 'max_pool', name: 'max', inputs: [name], shape, ...pool });
  nodes.push({ op: 'avg_pool', name: 'mean', inputs: [name], shape, ...pool });
  nodes.push({ op: 'add', name: 'two', inputs: [name, 'max'], shape });
  nodes.push({ op: 'relu', name: 'two/relu', inputs: ['two'], shape, maxValue: random.pick([null, 6]) });
  nodes.push({ op: 'add', name: 'three', inputs: ['two/relu', 'mean', name], shape });
  return { graph: { ...graph, output: 'three' }, weights };
}

/** Depthwise layers of all kinds of windows on few or many channels, some with a sum; the last one is the answer. */
export function depthwiseNet(random: Random): RandomNet {
  const channels = random.chance(0.5) ? 8 * random.integer(1, 18) : random.integer(1, 150);
  const { graph, weights } = chain(random, [{ channels, kernel: 1, stride: random.integer(1, 3) }]);
  const { nodes } = graph;
  for (let layer = random.integer(1, 3); layer > 0; layer--) {
    const { name: from, shape } = nodes[nodes.length - 1];
    const [height, width, depth] = shape;
    const side = () => (random.chance(0.6) ? 3 : random.integer(1, 5));
    const kernelSize: [number, number] = [side(), side()];
    const dilation: [number, number] = random.chance(0.2) ? [2, 2] : [1, 1];
    const span = (axis: 0 | 1) => (kernelSize[axis] - 1) * dilation[axis] + 1;
    const padding = span(0) > height || span(1) > width || random.chance(0.7) ? 'same' : 'valid';
    const strides: [number, number] = dilation[0] > 1 ? [1, 1] : [random.integer(1, 3), random.integer(1, 3)];
    const multiplier = depth < 60 && random.chance(0.2) ? random.integer(2, 3) : 1;
    const size = (whole: number, axis: 0 | 1) =>
      Math.ceil((padding === 'same' ? whole : whole - span(axis) + 1) / strides[axis]);
    const last: [number, number, number] = [size(height, 0), size(width, 1), depth * multiplier];
    const name = `depthwise${nodes.length}`;
    const dims = [...kernelSize, depth, multiplier];
    const count = dims.reduce((a, b) => a * b, 1);
    weights.set(`${name}/k`, {
      shape: dims,
      data: random.normals(count, 1.5 / Math.sqrt(kernelSize[0] * kernelSize[1])),
    });
    weights.set(`${name}/b`, { shape: [last[2]], data: random.normals(last[2], 0.1) });
    const parameters = { kernel: `${name}/k`, bias: `${name}/b`, kernelSize, strides, dilation };
    nodes.push({ op: 'depthwise_conv2d', name, inputs: [from], shape: last, ...parameters, padding });
    if (random.chance(0.5) && last.every((side, axis) => side === shape[axis])) {
      nodes.push({ op: 'add', name: `${name}/sum`, inputs: [name, from], shape: last });
    }
    if (layer === 1) break;
    const { name: sum } = nodes[nodes.length - 1];
    nodes.push({ op: 'relu', name: `${name}/relu`, inputs: [sum], shape: last, maxValue: random.pick([null, 6]) });
  }
  return { graph: { ...graph, output: nodes[nodes.length - 1].name }, weights };
}

export interface Convolution {
  channels: number;
  kernel: number;
  stride: number;
  /** Each channel by itself; as many channels as before. */
  depthwise?: boolean;
}

/** Convolutions, each with its activation function; the last one is the answer. */
export function chain(random: Random, convolutions: Convolution[], image: number[] = [17, 15, 3]): RandomNet {
  const weights: Weights = new Map();
  const nodes: GraphNode[] = [{ op: 'input', name: 'input', inputs: [], shape: image }];
  for (const { channels, kernel, stride, depthwise = false } of convolutions) {
    const { name: from, shape } = nodes[nodes.length - 1];
    const name = `conv${nodes.length}`;
    const [height, width, depth] = shape;
    const dims = [kernel, kernel, depth, depthwise ? 1 : channels];
    const size = dims.reduce((a, b) => a * b, 1);
    const fanIn = kernel * kernel * (depthwise ? 1 : depth);
    weights.set(`${name}/k`, { shape: dims, data: random.normals(size, 2 / Math.sqrt(fanIn)) });
    weights.set(`${name}/b`, { shape: [channels], data: random.normals(channels, 0.1) });
    nodes.push({
      op: depthwise ? 'depthwise_conv2d' : 'conv2d',
      name,
      inputs: [from],
      shape: [Math.ceil(height / stride), Math.ceil(width / stride), channels],
      kernel: `${name}/k`,
      bias: `${name}/b`,
      kernelSize: [kernel, kernel],
      strides: [stride, stride],
      dilation: [1, 1],
      padding: 'same',
    });
    const last = nodes[nodes.length - 1];
    nodes.push({ op: 'relu', name: `${name}/relu`, inputs: [name], shape: last.shape, maxValue: null });
  }
  return { graph: { nodes, input: 'input', output: nodes[nodes.length - 1].name }, weights };
}

/** The same net under another clip rule at a precision. */
export function withRule(source: VariantSource, precision: Precision, rule: ClipRule): VariantSource {
  const quantizer = { ...source.manifest.quantizer, clip_rules: { [precisionKey(precision)]: rule } };
  return { ...source, manifest: { ...source.manifest, quantizer } };
}

/** The same net with random corrections of most layers' biases, and a random factor on its ranges. */
export function withCorrections(source: VariantSource, precision: Precision, random: Random): VariantSource {
  const key = precisionKey(precision);
  const corrections = new Map<string, Float32Array>();
  for (const op of fuseGraph(source.graph).ops) {
    if (op.kind === 'other' || random.chance(0.2)) continue;
    const channels = op.node.shape[op.node.shape.length - 1];
    corrections.set(op.node.name, random.normals(channels, 10 ** random.integer(-4, 0)));
  }
  const encoded = isInteger(precision) ? encodeCorrections(new Map([[key, corrections]])) : null;
  const quantizer = {
    ...source.manifest.quantizer,
    range_factors: { [key]: random.pick([0.8, 1, 1.25]) },
    bias_corrections: encoded?.index,
  };
  const readCorrections = async () => corrections;
  return { ...source, manifest: { ...source.manifest, quantizer }, readCorrections };
}
