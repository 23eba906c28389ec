import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPlan } from '../../src/engine/reference.js';
import { importGraph } from '../../src/model/import.js';
import { decodeWeights } from '../../src/model/weights.js';
import { buildPlan } from '../../src/quantize/build.js';
import { Random } from '../support/random.js';
import { functional, input, type Json } from './documents.js';
import { saveModel, tf, tfl } from './saved-model.js';

const L = tfl.layers;
const image = { shape: [9, 9, 2] };
const random = new Random(7);

/** A convolutional base as a functional model of its own; its layers bear the same names in every test. */
function base(name: string): tfl.LayersModel {
  const input = tfl.input({ ...image, name: `${name}_image` });
  const conv = L.conv2d({ filters: 4, kernelSize: 3, name: 'conv', padding: 'same' }).apply(input);
  const norm = L.batchNormalization({ name: 'bn' }).apply(conv) as tfl.SymbolicTensor;
  const relu = L.reLU({ maxValue: 6, name: 'relu' }).apply(norm) as tfl.SymbolicTensor;
  const sum = L.add({ name: 'sum' }).apply([relu, norm]) as tfl.SymbolicTensor;
  return tfl.model({ inputs: input, outputs: sum, name });
}

const head = (name: string) =>
  tfl.sequential({
    name,
    layers: [L.flatten({ name: 'flat', inputShape: [9, 9, 4] }), L.dense({ units: 3, name: 'out' })],
  });

function withRandomWeights(model: tfl.LayersModel): tfl.LayersModel {
  model.setWeights(
    model.weights.map(({ shape, name }) => {
      const data = random.normals(
        (shape as number[]).reduce((a, b) => a * b, 1),
        0.4,
      );
      return tf.tensor(name.includes('variance') ? data.map((v) => Math.abs(v) + 0.3) : data, shape as number[]);
    }),
  );
  return model;
}

/** What was saved, read and run by this project, against the model that saved it. */
async function agrees(model: tfl.LayersModel, prepare = (document: Json) => document): Promise<string[]> {
  withRandomWeights(model);
  const saved = await saveModel(model);
  const document = prepare(saved.document);
  const graph = importGraph(document);
  const weights = await decodeWeights(document, async () => saved.bytes);
  const shape: [number, number, number] = [9, 9, 2];
  const source = { input: { shape, range: [-1, 1] as [number, number], resize: 'fill' as const }, ranges: {} };
  const quantizer = { clip_rules: {}, minimum_bits: {} };
  const plan = buildPlan(graph, weights, { ...source, quantizer }, { weightBits: 32, activationBits: 32 });
  const pixels = random.normals(162);
  const [got, want] = [
    runPlan(plan, pixels, 1),
    await (model.predict(tf.tensor(pixels, [1, 9, 9, 2])) as tf.Tensor).data(),
  ];
  assert.equal(got.length, want.length);
  for (const [i, v] of want.entries()) {
    assert.ok(Math.abs(got[i] - v) <= 1e-4 * (1 + Math.abs(v)), `logit ${i}: expected ${v}, got ${got[i]}`);
  }
  return graph.nodes.map(({ name }) => name);
}

test('a functional model inside a sequential one, with an input of its own', async () => {
  const names = await agrees(
    tfl.sequential({ layers: [base('net'), L.flatten({ name: 'f' }), L.dense({ units: 2, name: 'd' })] }),
  );
  assert.deepEqual(names, ['net/net_image', 'net/conv', 'net/bn', 'net/relu', 'net/sum', 'f', 'd']);
});

test('functional and sequential models inside a functional one, one after the other', async () => {
  const given = tfl.input({ ...image, name: 'given' });
  const first = L.conv2d({ filters: 2, kernelSize: 1, name: 'first' }).apply(given);
  const inner = base('net').apply(first) as tfl.SymbolicTensor;
  const outputs = head('head').apply(inner) as tfl.SymbolicTensor;
  const names = await agrees(tfl.model({ inputs: given, outputs }), (document) => {
    // Keras counts the call that made a model as its node 0, TF.js too; an outer document may say either.
    assert.match(JSON.stringify(document), /\["net",1,0,/);
    return document;
  });
  assert.deepEqual(names, ['given', 'first', 'net/conv', 'net/bn', 'net/relu', 'net/sum', 'head/flat', 'head/out']);
});

test('models within models, and a branch past one', async () => {
  const given = tfl.input({ ...image, name: 'given' });
  const middle = tfl.sequential({
    name: 'middle',
    layers: [base('net'), L.activation({ activation: 'relu', name: 'again' })],
  });
  const around = L.conv2d({ filters: 4, kernelSize: 1, name: 'around' }).apply(given) as tfl.SymbolicTensor;
  const sum = L.add({ name: 'join' }).apply([middle.apply(given) as tfl.SymbolicTensor, around]) as tfl.SymbolicTensor;
  const names = await agrees(tfl.model({ inputs: given, outputs: head('head').apply(sum) as tfl.SymbolicTensor }));
  assert.ok(names.includes('middle/net/conv') && names.includes('middle/again') && names.includes('join'));
});

const entry = (name: string, shape: number[]) => ({ name, shape, dtype: 'float32' });
const sequential = (name: string, ...layers: Json[]) => ({ class_name: 'Sequential', config: { name, layers } });
const dense = (name: string) => ({ class_name: 'Dense', config: { name, units: 3 } });

test('layers of one name in two models have their weights by the models’ names, or not at all', () => {
  const shaped = { class_name: 'Flatten', config: { name: 'flat', batch_input_shape: [null, 3] } };
  const document = sequential('all', shaped, sequential('a', dense('fc')), sequential('b', dense('fc')));
  const read = (...names: string[]) => {
    const weights = names.flatMap((name) => [entry(`${name}/kernel`, [3, 3]), entry(`${name}/bias`, [3])]);
    return importGraph({ modelTopology: document, weightsManifest: [{ paths: ['w'], weights }] });
  };
  const nodes = read('a/fc', 'b/fc').nodes.flatMap((node) => (node.op === 'dense' ? [[node.name, node.kernel]] : []));
  assert.deepEqual(nodes, [
    ['a/fc', 'a/fc/kernel'],
    ['b/fc', 'b/fc/kernel'],
  ]);
  assert.throws(() => read('fc'), { code: 'bad_model', message: /one layer for each weight/ });
  assert.equal(importGraph(document).nodes.at(-1)?.name, 'b/fc');
});

test('models inside models that make no sense are refused', () => {
  const inner = (inbound: unknown, config: Json = {}) => {
    const document = functional(input, ['m', 'Functional', {}, ['in']], ['r', 'ReLU', {}, ['m']]);
    const { layers } = (document.modelTopology as { model_config: { config: { layers: Json[] } } }).model_config.config;
    const own = { class_name: 'InputLayer', name: 'i', config: { name: 'i', batch_input_shape: [null, 4, 4, 2] } };
    const relu = { class_name: 'ReLU', name: 'x', config: { name: 'x' }, inbound_nodes: [[['i', 0, 0, {}]]] };
    const ends = { input_layers: [['i', 0, 0]], output_layers: [['x', 0, 0]] };
    layers[1].config = { name: 'm', layers: [{ ...own, inbound_nodes: [] }, relu], ...ends, ...config };
    layers[1].inbound_nodes = inbound;
    return document;
  };
  const once = [[['in', 0, 0, {}]]];
  assert.deepEqual(
    importGraph(inner(once)).nodes.map(({ name }) => name),
    ['in', 'm/x', 'r'],
  );
  assert.equal(importGraph(inner(once, { output_layers: [['i', 0, 0]] })).nodes.length, 2);
  const refused: [Json, RegExp][] = [
    [inner([]), /one input of a model inside a model, got 0/],
    [
      inner([
        [
          ['in', 0, 0, {}],
          ['in', 0, 0, {}],
        ],
      ]),
      /one input of a model/,
    ],
    [inner([[['in', 1, 0, {}]]]), /called once/],
    [inner([[['m', 1, 0, {}]]]), /no cycle/],
    [inner([[['m', 1, 0, {}]]], { output_layers: [['i', 0, 0]] }), /no cycle/],
    [inner(once, { input_layers: [['x', 0, 0]] }), /the name of an InputLayer, got "m\/x"/],
    [inner(once, { input_layers: [['nothing', 0, 0]] }), /the name of an InputLayer/],
    [inner(once, { output_layers: [['nothing', 0, 0]] }), /the name of a layer, got "m\/nothing"/],
  ];
  for (const [document, message] of refused) assert.throws(() => importGraph(document), { code: 'bad_model', message });
  assert.throws(() => importGraph(inner([...once, ...once])), { code: 'unsupported_layer', message: /"m".*2 times/ });
  let nested: Json = dense('d');
  for (let i = 0; i < 50; i++) nested = sequential('s', nested);
  assert.throws(() => importGraph(nested), { code: 'bad_model', message: /at most 8 models within models/ });
  const unshaped = sequential('s', dense('d'));
  assert.throws(() => importGraph(sequential('all', unshaped)), { code: 'bad_model' });
});
