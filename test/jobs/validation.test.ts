import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { parseTrainRequest, TRAIN_DEFAULTS } from '../../src/jobs/validation.js';
import { NO_REGULARIZER } from '../../src/training/request.js';

const topology = {
  modelTopology: {
    class_name: 'Sequential',
    config: {
      name: 'net',
      layers: [
        { class_name: 'Flatten', config: { name: 'flat', batch_input_shape: [null, 28, 28, 1] } },
        { class_name: 'Dense', config: { name: 'out', units: 10, activation: 'softmax', use_bias: true } },
      ],
    },
  },
};

function refusal(body: unknown, known = {}): ServiceError {
  try {
    parseTrainRequest(body, known);
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    assert.ok(error.status >= 400 && error.status < 500);
    return error;
  }
  return assert.fail(`taken: ${JSON.stringify(body)}`);
}

describe('the body of a training request', () => {
  it('is filled up with defaults', () => {
    assert.deepEqual(parseTrainRequest({ model: 'net' }), {
      model: 'net',
      architecture: 'lenet',
      width: 1,
      dataset: 'mnist',
      from: null,
      epochs: 5,
      batch_size: 64,
      learning_rate: 2e-3,
      optimizer: { kind: 'adam', momentum: 0, weight_decay: 0 },
      schedule: 'cosine',
      label_smoothing: 0,
      image_size: null,
      augmentation: null,
      class_weights: null,
      validation_share: null,
      regularizer: { ...TRAIN_DEFAULTS.regularizer },
      fold_batch_norm: false,
      weight_averaging: 0,
      seed: 1,
      limit: null,
      publish: true,
    });
    const none = parseTrainRequest({ model: 'net', regularizer: { kind: 'none' } });
    assert.deepEqual(none.regularizer, NO_REGULARIZER);
    const part = parseTrainRequest({ model: 'net', regularizer: { lambda_weights: 0.5 } });
    assert.deepEqual(part.regularizer, { ...TRAIN_DEFAULTS.regularizer, lambda_weights: 0.5 });
  });

  it('is taken as it is where it says everything, and its result can be sent again', () => {
    const body = {
      model: 'a.b_c-1',
      architecture: 'lenet',
      width: 0.25,
      dataset: 'mnist',
      from: null,
      epochs: 1000,
      batch_size: 1,
      learning_rate: 1,
      optimizer: { kind: 'sgd', momentum: 0.5, weight_decay: 5e-4 },
      schedule: 'one-cycle',
      label_smoothing: 0.1,
      image_size: 64,
      augmentation: { shift: 0, flip: false },
      class_weights: { '0': 0.5, '1': 1000 },
      validation_share: 0.5,
      regularizer: {
        kind: ['gradient-l1', 'kurtosis', 'any-width'],
        lambda_weights: 0,
        lambda_activations: 3.5,
        ratio_weights: 0.1,
        ratio_activations: 0,
        form: 'finite-difference',
        sam_radius: 0,
        sam_bits: 0,
        lambda_kurtosis: 0.5,
        widths: [2, 8, 32],
        qat_bits: 0,
        start_epoch: 2,
      },
      fold_batch_norm: true,
      weight_averaging: 0.99,
      seed: 0,
      limit: 1,
      publish: false,
    };
    assert.deepEqual(parseTrainRequest(body), body);
    assert.deepEqual(parseTrainRequest(parseTrainRequest({ model: 'net' })), parseTrainRequest({ model: 'net' }));
    assert.equal(parseTrainRequest({ model: 'net', from: 'current' }).from, 'current');
    assert.deepEqual(parseTrainRequest({ model: 'net', augmentation: { flip: true } }).augmentation, { flip: true });
    assert.equal(parseTrainRequest({ model: 'net', augmentation: {} }).augmentation, null);
    for (const class_weights of ['balanced', 'none', null] as const) {
      assert.equal(parseTrainRequest({ model: 'net', class_weights }).class_weights, class_weights);
    }
    assert.equal(parseTrainRequest({ model: 'net', from: 3 }, { models: ['net'] }).from, 3);
    assert.deepEqual(parseTrainRequest({ model: 'net', architecture: topology }).architecture, topology);
    const custom = parseTrainRequest({ model: 'net', architecture: topology });
    assert.deepEqual(parseTrainRequest(custom), custom);
    assert.equal(parseTrainRequest({ model: 'x'.repeat(64) }).model.length, 64);
  });

  it('has no strength by default beside a ratio', () => {
    const { regularizer } = parseTrainRequest({ model: 'net', regularizer: { ratio_weights: 0.2 } });
    const { lambda_weights, lambda_activations, ratio_weights, ratio_activations } = regularizer;
    assert.deepEqual([lambda_weights, lambda_activations, ratio_weights, ratio_activations], [0, 0, 0.2, 0]);
    const mixed = parseTrainRequest({ model: 'net', regularizer: { ratio_weights: 0.2, lambda_activations: 2e-3 } });
    assert.deepEqual([mixed.regularizer.lambda_weights, mixed.regularizer.lambda_activations], [0, 2e-3]);
  });

  const known = { models: ['net'], architectures: ['lenet', 'mlp'], datasets: ['mnist'] };
  const wrong: [string, string, unknown][] = [
    ...['', 'A', '-a', '.a', 'a..b', 'a/b', '../a', 'a b', 'é', 'x'.repeat(65), 1, null, ['a'], {}].map(
      (model): [string, string, unknown] => ['invalid_field', 'model', { model }],
    ),
    ...(
      [
        [
          'architecture',
          ['', 'resnet', 5, null, [], ['lenet'], true, 'constructor', { modelTopology: 'x'.repeat(1 << 20) }],
        ],
        ['width', [0, 0.24, 4.01, '1', null, Number.NaN, Number.POSITIVE_INFINITY, {}]],
        ['dataset', ['', 'cifar', 1, null, {}, '__proto__']],
        ['from', ['newest', 0, -1, 1.5, '1', true, {}, 2 ** 60]],
        ['epochs', [0, -1, 1.5, 1001, '5', null, true, Number.NaN, Number.POSITIVE_INFINITY, [5]]],
        ['batch_size', [0, 1025, 0.5, '64', null]],
        ['learning_rate', [0, -0.1, 1.01, '0.1', null, Number.NaN, Number.POSITIVE_INFINITY, {}]],
        ['seed', [-1, 0.5, 2 ** 31, '1', null, Number.NaN]],
        ['limit', [0, -1, 1.5, '10', true, Number.POSITIVE_INFINITY]],
        ['image_size', [3, 1025, 32.5, '32', [32, 32], {}]],
        ['augmentation', ['flip', 1, [], true]],
        ['class_weights', ['equal', '', 1, [], {}, { a: 0 }, { a: -1 }, { a: '1' }, { a: 1001 }, { a: Number.NaN }]],
        ['validation_share', [0, 0.6, 1, -0.1, '0.1', Number.NaN]],
        ['publish', ['true', 1, 0, null, {}]],
        ['regularizer', ['gradient-l1', null, 5, [], true]],
      ] as [string, unknown[]][]
    ).flatMap(([field, values]) =>
      values.map((value): [string, string, unknown] => ['invalid_field', field, { model: 'net', [field]: value }]),
    ),
    ...(
      [
        ['kind', ['l2', '', null, 1, {}, [], ['none'], ['qat', 'qat'], ['any-width', 'qat'], [['qat']]]],
        ['form', ['l2', null, 1]],
        ['sam_radius', [0.5, -1, null]],
        ['sam_bits', [4, '4']],
        ['lambda_kurtosis', [1, -1, null]],
        ['widths', [[4], 4, null, '4']],
        ['qat_bits', [4, 1, '4', null]],
        ['lambda_weights', [-1, '0', null, Number.NaN, Number.POSITIVE_INFINITY, 1e9]],
        ['lambda_activations', [-1, '0', null, Number.NaN, 1e9]],
        ['ratio_weights', [-1, '0', null, Number.NaN, 101]],
        ['ratio_activations', [-1, '0', null, Number.NaN, 101]],
        ['start_epoch', [-1, 0.5, 6, '0', null]],
      ] as [string, unknown[]][]
    ).flatMap(([field, values]) =>
      values.map((value): [string, string, unknown] => [
        'invalid_field',
        `regularizer.${field}`,
        { model: 'net', regularizer: { [field]: value } },
      ]),
    ),
    ...(
      [
        ['shift', [-1, 0.5, 513, '2', null, true]],
        ['flip', ['true', 1, 0, null]],
      ] as [string, unknown[]][]
    ).flatMap(([field, values]) =>
      values.map((value): [string, string, unknown] => [
        'invalid_field',
        `augmentation.${field}`,
        { model: 'net', augmentation: { [field]: value } },
      ]),
    ),
    ['unknown_field', 'augmentation.turn', { model: 'net', augmentation: { turn: 3 } }],
    ['invalid_field', 'regularizer.lambda_weights', { model: 'net', regularizer: { kind: 'none', lambda_weights: 1 } }],
    ...(
      [
        ['form', { kind: 'kurtosis', form: 'sam' }],
        ['lambda_weights', { form: 'sam', lambda_weights: 1 }],
        ['ratio_weights', { kind: 'none', ratio_weights: 0.1 }],
        ['ratio_weights', { form: 'sam', ratio_weights: 0.1 }],
        ['ratio_weights', { lambda_weights: 1e-3, ratio_weights: 0.1 }],
        ['ratio_activations', { lambda_activations: 1e-3, ratio_activations: 0.1 }],
        ['sam_bits', { form: 'sam', sam_bits: 9 }],
        ['widths', { kind: 'any-width', widths: [] }],
        ['widths', { kind: 'any-width', widths: [4, 4] }],
        ['widths', { kind: 'any-width', widths: [4, 16] }],
        ['qat_bits', { kind: 'qat', qat_bits: 1 }],
        ['lambda_kurtosis', { kind: 'qat', lambda_kurtosis: 1 }],
      ] as [string, object][]
    ).map(([field, regularizer]): [string, string, unknown] => [
      'invalid_field',
      `regularizer.${field}`,
      { model: 'net', regularizer },
    ]),
    ['invalid_field', 'optimizer.momentum', { model: 'net', optimizer: { kind: 'adam', momentum: 0.9 } }],
    ['invalid_field', 'optimizer.kind', { model: 'net', optimizer: { kind: 'rmsprop' } }],
    ['invalid_field', 'schedule', { model: 'net', schedule: 'step' }],
    ['invalid_field', 'label_smoothing', { model: 'net', label_smoothing: 0.6 }],
    ['invalid_field', 'weight_averaging', { model: 'net', weight_averaging: 1 }],
    ['invalid_field', 'fold_batch_norm', { model: 'net', fold_batch_norm: 'yes' }],
    ['invalid_field', 'architecture', { model: 'net', from: 'current', architecture: 'lenet' }],
    ['invalid_field', 'width', { model: 'net', from: 'current', width: 2 }],
    ['invalid_field', 'width', { model: 'net', architecture: topology, width: 0.5 }],
    ['missing_field', 'model', {}],
    ['missing_field', 'model', { epochs: 3 }],
    ['unknown_field', 'epoch', { model: 'net', epoch: 3 }],
    ['unknown_field', 'regularizer.lambda', { model: 'net', regularizer: { lambda: 3 } }],
    ['unknown_field', '__proto__', JSON.parse('{"model":"net","__proto__":{"epochs":3}}')],
    ['unknown_field', 'constructor', { model: 'net', constructor: 1 }],
    ['invalid_field', 'body', null],
    ['invalid_field', 'body', []],
    ['invalid_field', 'body', 'model'],
    ['invalid_field', 'body', 3],
    ['invalid_field', 'body', undefined],
  ];
  for (const [code, field, body] of wrong) {
    it(`is refused: ${code} ${field} ${JSON.stringify(body)?.slice(0, 70)}`, () => {
      const error = refusal(body, known);
      assert.equal(error.code, code);
      assert.equal(error.extra.field, field);
      assert.ok(error.message.startsWith(`${field}: expected `), error.message);
      assert.ok(error.message.length < 600, 'the message is short whatever came');
      if (code !== 'unknown_field') assert.equal(typeof error.extra.expected, 'string');
      if (code === 'invalid_field') assert.equal(typeof error.extra.actual, 'string');
    });
  }

  it('is refused where it begins from a model that is not there', () => {
    assert.equal(refusal({ model: 'other', from: 'current' }, known).code, 'model_not_found');
  });

  it('is refused for a topology that cannot be served, by the name of the layer', () => {
    const odd = structuredClone(topology);
    odd.modelTopology.config.layers.push({ class_name: 'LSTM', config: { name: 'memory', units: 3 } } as never);
    const error = refusal({ model: 'net', architecture: odd });
    assert.equal(error.code, 'unsupported_layer');
    assert.match(error.message, /LSTM|memory/);
    assert.equal(refusal({ model: 'net', architecture: {} }).code, 'bad_model');
  });
});
