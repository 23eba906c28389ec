import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { importGraph } from '../../src/model/import.js';
import { MAX_ELEMENTS } from '../../src/model/shapes.js';
import { conv, functional, image, input, type Json, sequence } from './documents.js';

const UNSUPPORTED: [string, Json, string, string, RegExp][] = [
  ['a class', image(['LSTM', { units: 3 }]), 'l1', 'LSTM', /layer "l1" \(LSTM\)/],
  ['a class named as a property of objects', image(['constructor', {}]), 'l1', 'constructor', /not supported/],
  ['max over everything', image(['GlobalMaxPooling2D', {}]), 'l1', 'GlobalMaxPooling2D', /not supported/],
  ['channels first', conv({ data_format: 'channels_first' }), 'l1', 'Conv2D', /channels_first/],
  [
    'channels first when flattened',
    image(['Flatten', { data_format: 'channels_first' }]),
    'l1',
    'Flatten',
    /channels_f/,
  ],
  ['groups', conv({ groups: 2 }), 'l1', 'Conv2D', /groups/],
  ['an activation', conv({ activation: 'selu' }), 'l1', 'Conv2D', /activation "selu".*linear, relu, relu6, softmax/],
  ['an activation layer', image(['Activation', { activation: 'tanh' }]), 'l1', 'Activation', /tanh/],
  ['a leak', image(['ReLU', { negative_slope: 0.1 }]), 'l1', 'ReLU', /negative_slope/],
  ['a threshold', image(['ReLU', { threshold: 1 }]), 'l1', 'ReLU', /threshold/],
  ['a ReLU that is always 0', image(['ReLU', { max_value: 0 }]), 'l1', 'ReLU', /max_value/],
  ['batch norm of rows', image(['BatchNormalization', { axis: 1 }]), 'l1', 'BatchNormalization', /axis -1 or 3.*got 1/],
  [
    'batch norm of two axes',
    image(['BatchNormalization', { axis: [1, 3] }]),
    'l1',
    'BatchNormalization',
    /got \[1, 3\]/,
  ],
  ['a softmax in the middle', image(['Softmax', {}], ['Flatten', {}]), 'l1', 'Softmax', /last layer/],
  [
    'a fused softmax in the middle',
    image(['Dense', { units: 3, activation: 'softmax' }], ['Flatten', {}]),
    'l1',
    'Dense',
    /last layer/,
  ],
  ['a softmax of rows', image(['Softmax', { axis: 1 }]), 'l1', 'Softmax', /axis/],
  ['a dense layer on rank 2', sequence([5, 4], ['Dense', { units: 3 }]), 'l1', 'Dense', /got \[5, 4\]/],
  [
    'a sum that broadcasts',
    functional(input, ['g', 'GlobalAveragePooling2D', { keepdims: true }, ['in']], ['a', 'Add', {}, ['in', 'g']]),
    'a',
    'Add',
    /one shape.*\[4, 4, 2\].*\[1, 1, 2\]/,
  ],
];

for (const [what, document, layer, class_name, message] of UNSUPPORTED) {
  test(`unsupported: ${what}`, () => {
    assert.throws(
      () => importGraph(document),
      (error) => {
        assert.ok(error instanceof ServiceError);
        assert.equal(error.code, 'unsupported_layer');
        assert.deepEqual(error.extra, { layer, class_name });
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test('unsupported: a shared layer', () => {
  const document = functional(input, ['a', 'ReLU', {}, ['in']], ['b', 'Add', {}, ['a', 'in']]);
  const config = (document.modelTopology as { model_config: { config: { layers: Json[] } } }).model_config.config;
  config.layers[1].inbound_nodes = [[['in', 0, 0, {}]], [['a', 0, 0, {}]]];
  assert.throws(() => importGraph(document), {
    code: 'unsupported_layer',
    message: /"a" \(ReLU\).*2 times; a shared layer/,
  });
});

const deep = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
const twoInputs = functional(
  input,
  ['in2', 'InputLayer', { batch_input_shape: [null, 4, 4, 2] }],
  ['a', 'Add', {}, ['in', 'in2']],
);
const weights = (...entries: unknown[]) => ({ ...conv({}), weightsManifest: [{ paths: ['w'], weights: entries }] });
const kernel = { name: 'l1/kernel', shape: [3, 3, 4, 2], dtype: 'float32' };
const bias = { name: 'l1/bias', shape: [2], dtype: 'float32' };

const BAD: [string, unknown, RegExp][] = [
  ['nothing', undefined, /model.json: expected an object, got nothing/],
  ['null', null, /got null/],
  ['a string', 'model', /got "model"/],
  ['an array', [], /got an array|got \[\]/],
  ['an empty object', {}, /class_name/],
  ['a graph model', { format: 'graph-model', modelTopology: { node: [] } }, /layers model/],
  ['a class of its own', { class_name: 'MyModel', config: {} }, /Sequential, Model, Functional, got "MyModel"/],
  ['no layers', { class_name: 'Sequential', config: [] }, /one layer or more/],
  ['only an input', image(), /computes something/],
  ['a layer that is null', { class_name: 'Sequential', config: [null] }, /layers: expected an object/],
  ['a layer without config', { class_name: 'Sequential', config: [{ class_name: 'ReLU', name: 'a' }] }, /"a" \(ReLU\)/],
  ['a layer without name', { class_name: 'Sequential', config: [{ class_name: 'ReLU', config: {} }] }, /name/],
  ['a name that objects have', image(['ReLU', { name: '__proto__' }]), /plain name/],
  ['two layers of one name', image(['ReLU', { name: 'a' }], ['ReLU', { name: 'a' }]), /names that differ, got "a"/],
  [
    'a name that a fused activation takes',
    image(['Dense', { name: 'a', units: 2, activation: 'relu' }], ['ReLU', { name: 'a/relu' }]),
    /differ/,
  ],
  [
    'no input shape',
    { class_name: 'Sequential', config: [{ class_name: 'Flatten', config: { name: 'f' } }] },
    /batch_input_shape/,
  ],
  ['an unknown height', sequence([null, 8, 1], ['Flatten', {}]), /fixed size.*\[null, null, 8, 1\]/],
  ['a size of zero', sequence([0, 8, 1], ['Flatten', {}]), /fixed size/],
  ['a size that is no whole number', sequence([1.5, 8, 1], ['Flatten', {}]), /fixed size/],
  ['an input of nothing', sequence([], ['Flatten', {}]), /batch, height/],
  ['an input as wide as the world', sequence([2 ** 20, 2 ** 20, 1], ['Flatten', {}]), new RegExp(`${MAX_ELEMENTS}`)],
  ['padding as wide as the world', sequence([9, 9, 9], ['ZeroPadding2D', { padding: 65535 }]), /at most/],
  ['filters that are missing', image(['Conv2D', { kernel_size: 3 }]), /filters: expected a whole number from 1/],
  ['filters as text', conv({ filters: '8' }), /filters.*got "8"/],
  ['a kernel of three', conv({ kernel_size: [1, 2, 3] }), /kernel_size.*\[1, 2, 3\]/],
  ['a kernel of zero', conv({ kernel_size: [0, 1] }), /kernel_size/],
  ['a stride below zero', conv({ strides: -1 }), /strides/],
  ['causal padding', conv({ padding: 'causal' }), /padding: expected one of same, valid, got "causal"/],
  ['an activation that is an object', conv({ activation: { toString: 1 } }), /activation: expected a string/],
  ['a bias that is maybe', conv({ use_bias: 'maybe' }), /use_bias: expected true or false/],
  ['a kernel larger than the input', conv({ kernel_size: 9 }), /window of 9×9.*\[8, 8, 4\]/],
  ['a dilated kernel larger than the input', conv({ dilation_rate: 4 }), /dilation 4×4/],
  ['a pool larger than the input', image(['MaxPooling2D', { pool_size: 9 }]), /window/],
  [
    'a convolution of a vector',
    sequence([7], ['Conv2D', { filters: 1, kernel_size: 1 }]),
    /\[height, width, channels\], got \[7\]/,
  ],
  ['an epsilon that is text', image(['BatchNormalization', { epsilon: 'small' }]), /epsilon/],
  ['a rate of one', image(['Dropout', { rate: 1 }]), /rate/],
  ['a reshape that does not fit', image(['Reshape', { target_shape: [7, -1] }]), /256 numbers.*got \[7, -1\]/],
  ['a reshape with two unknowns', image(['Reshape', { target_shape: [-1, -1] }]), /256/],
  ['a reshape to nothing', image(['Reshape', { target_shape: [] }]), /256/],
  ['a reshape by zero', image(['Reshape', { target_shape: [0, -1] }]), /256/],
  ['a concat of one', functional(input, ['c', 'Concatenate', {}, ['in']]), /two or more/],
  [
    'a concat of sizes that differ',
    functional(input, ['p', 'ZeroPadding2D', {}, ['in']], ['c', 'Concatenate', {}, ['in', 'p']]),
    /inputs: expected \[4, 4, 2\].*got \[6, 6, 2\]/,
  ],
  ['a concat of the batch', functional(input, ['c', 'Concatenate', { axis: 0 }, ['in', 'in']]), /axis/],
  ['a concat past the last axis', functional(input, ['c', 'Concatenate', { axis: 4 }, ['in', 'in']]), /axis/],
  ['two inputs into one', functional(input, ['a', 'ReLU', {}, ['in', 'in']]), /inputs: expected one, got 2/],
  ['no inputs', functional(input, ['a', 'ReLU', {}]), /inputs: expected one, got 0/],
  ['an input that is not there', functional(input, ['a', 'ReLU', {}, ['b']]), /name of a layer, got "b"/],
  ['a cycle', functional(input, ['a', 'Add', {}, ['in', 'b']], ['b', 'ReLU', {}, ['a']]), /no cycle/],
  ['a layer that feeds itself', functional(input, ['a', 'Add', {}, ['in', 'a']]), /no cycle/],
  ['a second output of a layer', functional(input, ['a', 'ReLU', {}, [['in', 0, 1, {}]]]), /tensor 0/],
  ['inbound nodes that are text', functional(input, ['a', 'ReLU', {}, [7]]), /inbound_nodes/],
  [
    'an inbound node as deep as the sea',
    functional(input, ['a', 'ReLU', {}, [deep(50_000)]]),
    /\[layer, node, tensor\]/,
  ],
  ['two inputs of the model', twoInputs, /one input, "in"/],
  [
    'an output that needs no input',
    functional(['x', 'InputLayer', { batch_input_shape: [null, 2] }], ['a', 'ReLU', {}, ['x']]),
    /one input/,
  ],
  ['an input layer that is none', functional(['in', 'ReLU', {}, ['x']], ['x', 'ReLU', {}, ['in']]), /cycle/],
  ['a weights manifest that is an object', { ...conv({}), weightsManifest: {} }, /weightsManifest: expected an array/],
  ['a group without paths', { ...conv({}), weightsManifest: [{ weights: [] }] }, /paths/],
  ['a weight that is missing', weights(kernel), /"l1\/bias"/],
  [
    'a weight of another shape',
    weights({ ...kernel, shape: [3, 3, 4, 3] }, bias),
    /expected shape \[3, 3, 4, 2\], got \[3, 3, 4, 3\]/,
  ],
  ['a weight of whole numbers', weights({ ...kernel, dtype: 'int32' }, bias), /dtype float32, got "int32"/],
  ['a weight of text', weights({ ...kernel, dtype: 'string' }, bias), /dtype/],
  ['a weight twice', weights(kernel, kernel, bias), /names that differ/],
  ['a weight with a shape of text', weights({ ...kernel, shape: ['3'] }, bias), /a shape/],
  ['a quantisation without scale', weights({ ...kernel, quantization: { dtype: 'uint8', min: 0 } }, bias), /scale/],
  ...['../w', '/etc/passwd', 'a/../../w', 'a\\w', '', '.', 'a//b', 7].map((path): [string, unknown, RegExp] => [
    `the shard ${JSON.stringify(path)}`,
    { ...conv({}), weightsManifest: [{ paths: [path], weights: [kernel, bias] }] },
    /in the folder of model.json/,
  ]),
];

for (const [what, document, message] of BAD) {
  test(`bad: ${what}`, () => {
    assert.throws(
      () => importGraph(document),
      (error) => {
        assert.ok(error instanceof ServiceError, `${error}`);
        assert.equal(error.code, 'bad_model', error.message);
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test('bad: two outputs', () => {
  const document = functional(input, ['a', 'ReLU', {}, ['in']]);
  const { config } = (document.modelTopology as { model_config: { config: Json } }).model_config;
  config.output_layers = [
    ['a', 0, 0],
    ['in', 0, 0],
  ];
  assert.throws(() => importGraph(document), { code: 'bad_model', message: /output_layers: expected one, got 2/ });
  config.output_layers = { a: ['a', 0, 0] };
  assert.throws(() => importGraph(document), { code: 'bad_model' });
});

test('a chain as long as is allowed is read, a longer one refused', () => {
  const chain = (n: number) => image(...Array.from({ length: n }, (): [string, Json] => ['ReLU', {}]));
  assert.equal(importGraph(chain(9_999)).nodes.length, 10_000);
  assert.throws(() => importGraph(chain(10_000)), { code: 'bad_model', message: /at most 10000 layers/ });
});
