import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkWeights } from '../../src/model/check.js';
import type { Graph, GraphNode } from '../../src/model/graph.js';
import { importGraph, importModel } from '../../src/model/import.js';
import { decodeWeights } from '../../src/model/weights.js';
import { saveModel, tf, tfl } from './saved-model.js';

const find = (graph: Graph, name: string) => graph.nodes.find((node) => node.name === name) as GraphNode;

/** Every layer that is supported, in a graph with branches. */
function everyLayer(): tfl.LayersModel {
  const L = tfl.layers;
  const input = tfl.input({ shape: [13, 11, 2], name: 'image' });
  const pad = {
    padding: [
      [1, 0],
      [2, 3],
    ] as [[number, number], [number, number]],
    name: 'pad',
  };
  let x = L.zeroPadding2d(pad).apply(input) as tfl.SymbolicTensor;
  x = L.conv2d({
    filters: 4,
    kernelSize: [3, 5],
    strides: [2, 1],
    padding: 'same',
    activation: 'relu6',
    name: 'conv',
  }).apply(x) as tfl.SymbolicTensor;
  x = L.batchNormalization({ name: 'bn', scale: false, epsilon: 0.01 }).apply(x) as tfl.SymbolicTensor;
  const left = L.depthwiseConv2d({
    kernelSize: 3,
    depthMultiplier: 2,
    dilationRate: [2, 1],
    padding: 'same',
    name: 'dw',
  }).apply(x) as tfl.SymbolicTensor;
  const right = L.dense({ units: 8, activation: 'relu', name: 'pointwise' }).apply(x) as tfl.SymbolicTensor;
  x = L.add({ name: 'sum' }).apply([left, right]) as tfl.SymbolicTensor;
  x = L.reLU({ maxValue: 4, name: 'clip' }).apply(x) as tfl.SymbolicTensor;
  const most = L.maxPooling2d({ poolSize: 3, strides: 2, name: 'max' }).apply(x) as tfl.SymbolicTensor;
  const mean = L.averagePooling2d({ poolSize: [3, 3], strides: [2, 2], name: 'mean' }).apply(x) as tfl.SymbolicTensor;
  x = L.concatenate({ axis: 2, name: 'wide' }).apply([most, mean]) as tfl.SymbolicTensor;
  const whole = L.globalAveragePooling2d({ dataFormat: 'channelsLast', name: 'gap' }).apply(x) as tfl.SymbolicTensor;
  const flat = L.flatten({ name: 'flat' }).apply(x) as tfl.SymbolicTensor;
  x = L.concatenate({ name: 'all' }).apply([whole, flat]) as tfl.SymbolicTensor;
  x = L.dropout({ rate: 0.25, name: 'drop' }).apply(x) as tfl.SymbolicTensor;
  x = L.reshape({ targetShape: [-1, 4], name: 'fold' }).apply(x) as tfl.SymbolicTensor;
  x = L.reshape({ targetShape: [344], name: 'unfold' }).apply(x) as tfl.SymbolicTensor;
  x = L.activation({ activation: 'linear', name: 'same' }).apply(x) as tfl.SymbolicTensor;
  x = L.dense({ units: 5, useBias: false, name: 'logits' }).apply(x) as tfl.SymbolicTensor;
  return tfl.model({ inputs: input, outputs: L.softmax({ name: 'answer' }).apply(x) as tfl.SymbolicTensor });
}

test('a functional model with branches, of every layer', async () => {
  const model = everyLayer();
  const saved = await saveModel(model);
  const graph = importGraph(saved.document);
  assert.equal(graph.input, 'image');
  assert.equal(graph.output, 'answer');
  assert.equal(graph.nodes[0].name, 'image');
  const seen = new Set<string>();
  for (const node of graph.nodes) {
    for (const input of node.inputs) assert.ok(seen.has(input), `${node.name} stands before its input ${input}`);
    seen.add(node.name);
  }
  for (const layer of model.layers) {
    if (layer.name === 'fold') continue; // TF.js leaves the -1 unknown
    const name = { conv: 'conv/relu6', pointwise: 'pointwise/relu', same: 'unfold' }[layer.name] ?? layer.name;
    assert.deepEqual(find(graph, name).shape, (layer.outputShape as number[]).slice(1), layer.name);
  }
  assert.deepEqual(find(graph, 'conv'), {
    op: 'conv2d',
    name: 'conv',
    inputs: ['pad'],
    shape: [7, 16, 4],
    kernel: 'conv/kernel',
    kernelSize: [3, 5],
    bias: 'conv/bias',
    strides: [2, 1],
    dilation: [1, 1],
    padding: 'same',
  });
  assert.deepEqual(find(graph, 'conv/relu6'), {
    op: 'relu',
    name: 'conv/relu6',
    inputs: ['conv'],
    shape: [7, 16, 4],
    maxValue: 6,
  });
  const bn = find(graph, 'bn');
  assert.ok(bn.op === 'batch_norm' && bn.gamma === null && bn.beta === 'bn/beta' && bn.epsilon === 0.01);
  assert.deepEqual(bn.inputs, ['conv/relu6']);
  const dw = find(graph, 'dw');
  assert.ok(dw.op === 'depthwise_conv2d' && dw.kernel === 'dw/depthwise_kernel');
  assert.deepEqual(dw.dilation, [2, 1]);
  const pointwise = find(graph, 'pointwise');
  assert.ok(pointwise.op === 'conv2d');
  assert.deepEqual(pointwise.kernelSize, [1, 1]);
  assert.deepEqual(find(graph, 'sum').inputs, ['dw', 'pointwise/relu']);
  const clip = find(graph, 'clip');
  assert.ok(clip.op === 'relu' && clip.maxValue === 4);
  const wide = find(graph, 'wide');
  assert.ok(wide.op === 'concat' && wide.axis === 1);
  const drop = find(graph, 'drop');
  assert.ok(drop.op === 'dropout' && drop.rate === 0.25);
  assert.deepEqual(find(graph, 'fold').shape, [86, 4]);
  const logits = find(graph, 'logits');
  assert.ok(logits.op === 'dense' && logits.bias === null);
  assert.deepEqual(logits.inputs, ['unfold']);

  const weights = await decodeWeights(saved.document, async () => saved.bytes);
  checkWeights(graph, weights);
  assert.deepEqual(weights.get('pointwise/kernel')?.shape, [1, 1, 4, 8]);
  for (const variable of model.weights) {
    const data = weights.get(variable.originalName)?.data;
    assert.deepEqual(data, variable.read().dataSync(), variable.originalName);
  }
});

test('a sequential model without an input layer, in each form of its document', async () => {
  const L = tfl.layers;
  const model = tfl.sequential({
    layers: [
      L.conv2d({ filters: 3, kernelSize: 3, inputShape: [8, 8, 1], activation: 'relu', name: 'c' }),
      L.maxPooling2d({ poolSize: 2, name: 'p' }),
      L.flatten({ name: 'f' }),
      L.dense({ units: 4, activation: 'softmax', name: 'd' }),
    ],
  });
  const { document } = await saveModel(model);
  const graph = importGraph(document);
  assert.deepEqual(
    graph.nodes.map(({ name }) => name),
    ['c_input', 'c', 'c/relu', 'p', 'f', 'd', 'd/softmax'],
  );
  assert.equal(graph.output, 'd/softmax');
  const { modelTopology, weightsManifest } = document;
  const { class_name, config } = modelTopology as { class_name: string; config: { layers: unknown[] } };
  for (const form of [
    { modelTopology: { keras_version: '2.15.0', model_config: { class_name, config } }, weightsManifest },
    { modelTopology: { class_name, config: config.layers }, weightsManifest },
    { class_name, config },
    { modelTopology },
  ]) {
    assert.deepEqual(importGraph(form), graph);
  }
});

test('weights are found under the names that other writers give', () => {
  const layers = [
    { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, 4, 4, 2] } },
    { class_name: 'DepthwiseConv2D', config: { name: 'block/dw', kernel_size: 3, use_bias: false } },
    { class_name: 'Conv2D', config: { name: 'dw', filters: 3, kernel_size: [1, 1] } },
    { class_name: 'GlobalAveragePooling2D', config: { name: 'gap' } },
  ];
  const weights = (...names: string[]) => [
    {
      paths: ['x'],
      weights: names.map((name, i) => ({ name, shape: [[3, 3, 2, 1], [1, 1, 2, 3], [3]][i], dtype: 'float32' })),
    },
  ];
  const kernels = (weightsManifest: unknown) => {
    const { nodes } = importGraph({ class_name: 'Sequential', config: layers, weightsManifest });
    return nodes.flatMap((node) => ('kernel' in node ? [node.kernel, ...(node.bias ? [node.bias] : [])] : []));
  };
  for (const names of [
    ['block/dw/depthwise_kernel', 'dw/kernel', 'dw/bias'],
    ['model/block/dw/depthwise_kernel:0', 'model/dw/kernel:0', 'model/dw/bias:0'],
    ['block/dw/kernel', 'dw/kernel', 'dw/bias'],
    ['block/dw/depthwise_kernel_1:0', 'dw/kernel_3:0', 'dw/bias_2:0'],
  ]) {
    assert.deepEqual(kernels(weights(...names)), names);
  }
  const refused = (names: string[], message: RegExp) =>
    assert.throws(() => kernels(weights(...names)), { code: 'bad_model', message });
  refused(['block/dw/kernel', 'dw/kernel'], /"dw\/bias": expected an entry/);
  refused(['block/dw/kernel', 'dw/bias', 'dw/kernel'], /weight "dw\/kernel": expected shape \[1, 1, 2, 3\], got \[3\]/);
  refused(['block/dw/kernel', 'other/kernel', 'dw/bias'], /"dw\/kernel": expected an entry/);
});

test('two weights that may both be meant are refused', () => {
  const entry = (name: string) => ({ name, shape: [2, 3], dtype: 'float32' });
  const document = {
    class_name: 'Sequential',
    config: [{ class_name: 'Dense', config: { name: 'd', units: 3, use_bias: false, batch_input_shape: [null, 2] } }],
    weightsManifest: [{ paths: ['x'], weights: [entry('a/d/kernel'), entry('b/d/kernel')] }],
  };
  assert.throws(() => importGraph(document), { code: 'bad_model', message: /one entry .*a\/d\/kernel, b\/d\/kernel/ });
  document.weightsManifest[0].weights.push(entry('d/kernel'));
  assert.equal((importGraph(document).nodes[1] as { kernel: string }).kernel, 'd/kernel');
});

test('a Keras 3 document', () => {
  const tensor = (name: string) => ({ class_name: '__keras_tensor__', config: { keras_history: [name, 0, 0] } });
  const layer = (class_name: string, config: { name: string }, ...args: unknown[]) => ({
    class_name,
    name: config.name,
    config,
    inbound_nodes: args.length > 0 ? [{ args, kwargs: {} }] : [],
  });
  const relu = { class_name: 'function', config: 'relu' };
  const graph = importGraph({
    modelTopology: {
      model_config: {
        class_name: 'Functional',
        config: {
          layers: [
            layer('InputLayer', { name: 'in', batch_shape: [null, 4, 4, 3] } as { name: string }),
            layer('Conv2D', { name: 'a', filters: 3, kernel_size: [1, 1], activation: relu } as never, tensor('in')),
            layer('Add', { name: 'b' }, [tensor('in'), tensor('a')]),
            layer('GlobalAveragePooling2D', { name: 'c', keepdims: true } as never, tensor('b')),
          ],
          input_layers: ['in', 0, 0],
          output_layers: ['c', 0, 0],
        },
      },
    },
  });
  assert.deepEqual(
    graph.nodes.map(({ op, shape }) => [op, ...shape]),
    [
      ['input', 4, 4, 3],
      ['conv2d', 4, 4, 3],
      ['relu', 4, 4, 3],
      ['add', 4, 4, 3],
      ['global_avg_pool', 1, 1, 3],
    ],
  );
});

test('shapes are those of TF.js for random windows', async () => {
  await tf.setBackend('cpu');
  const random = (n: number) => 1 + Math.floor(Math.random() * n);
  for (let i = 0; i < 60; i++) {
    const inputShape: [number, number, number] = [9 + random(9), 9 + random(9), random(3)];
    const padding = Math.random() < 0.5 ? 'same' : 'valid';
    const name = 'x';
    const kernelSize: [number, number] = [random(5), random(5)];
    // TF.js takes a stride or a dilation, not both.
    const strides: [number, number] = i % 2 ? [random(3), random(3)] : [1, 1];
    const dilationRate: [number, number] = i % 2 ? [1, 1] : [random(2), random(2)];
    const L = tfl.layers;
    const layer = [
      () => L.conv2d({ inputShape, padding, name, kernelSize, strides, dilationRate, filters: random(4) }),
      () => L.depthwiseConv2d({ inputShape, padding, name, kernelSize, strides, depthMultiplier: random(3) }),
      () => L.maxPooling2d({ inputShape, padding, name, poolSize: kernelSize, strides }),
      () => L.averagePooling2d({ inputShape, padding, name, poolSize: kernelSize }),
    ][i % 4]();
    const model = tfl.sequential({ layers: [layer] });
    const expected = (model.outputs[0].shape as number[]).slice(1);
    const { document } = await saveModel(model);
    const { graph, weightShapes } = importModel(document);
    assert.deepEqual(graph.nodes[1].shape, expected, JSON.stringify(document.modelTopology));
    for (const weight of model.weights) assert.deepEqual(weightShapes.get(weight.originalName), weight.shape);
  }
});
