import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Manifest, parseManifest } from '../../src/model/manifest.js';
import { newVersion } from './versions.js';

const TRAINING = {
  command: 'npm run train -- --seed 1',
  commit: null,
  seed: 1,
  architecture: 'lenet',
  dataset: 'mnist',
  examples: 100,
  epochs: 2,
  batch_size: 64,
  learning_rate: 0.001,
  regularizer: { kind: 'none' },
  backend: 'wasm',
  duration_s: 1.5,
  history: [{ loss: 2 }],
  from: null,
};

const whole = (): Manifest => ({
  format: 'bitdial/1',
  created: '2024-05-06T07:08:09.123Z',
  files: { 'model.json': 'a'.repeat(64), 'weights.bin': 'b'.repeat(64) },
  ...newVersion(1).manifest,
  training: { ...TRAINING, history: [{ loss: 2 }] },
});

test('a manifest is read as it was written, with fields of later versions', () => {
  const manifest = { ...whole(), later: { kept: true } };
  assert.deepEqual(parseManifest(JSON.stringify(manifest)), manifest);
  const { training: _, ...imported } = whole();
  assert.equal(parseManifest(JSON.stringify(imported)).training, null);
});

test('a version without test images says that its accuracy is not known, and channels may differ', () => {
  const manifest = whole();
  manifest.precisions['8x8'] = { ...manifest.precisions['8x8'], accuracy: null, images: 0 };
  manifest.input = {
    shape: [2, 2, 1],
    range: [-3, 2],
    channel_ranges: [[-2, 2]],
    channel_order: 'bgr',
    resize: 'fill',
  };
  assert.deepEqual(parseManifest(JSON.stringify(manifest)), manifest);
});

/** [path to the field, value, what the message says] */
const BAD: [string[], unknown, RegExp][] = [
  [['format'], 'bitdial/2', /format: expected one of bitdial\/1, got "bitdial\/2"/],
  [['model'], '../x', /model: expected a model name/],
  [['created'], 'yesterday', /created: expected an ISO 8601/],
  [['files'], undefined, /files: expected an object, got nothing/],
  [['files', 'weights.bin'], 'abc', /files: weights.bin: expected a SHA-256/],
  [['input', 'shape'], [28, 28], /input: shape/],
  [['input', 'shape'], [28, 28, 0], /input: shape/],
  [['input', 'range'], [1, 1], /input: range: expected \[low, high\], low below high, got \[1, 1\]/],
  [['input', 'range'], [0, '1'], /input: range/],
  [['input', 'resize'], 'zoom', /resize: expected one of fill, cover, contain, got "zoom"/],
  [['input', 'channel_ranges'], [], /channel_ranges: expected 1 times \[low, high\] within \[0, 1\]/],
  [['input', 'channel_ranges'], [[0, 2]], /channel_ranges/],
  [['input', 'channel_ranges'], [[1, 0]], /channel_ranges/],
  [['input', 'channel_order'], 'rgb', /channel_order: expected one of bgr/],
  [['labels'], [], /labels/],
  [['labels'], ['a', 1], /labels/],
  [['ranges', 'in', 'max'], -1, /ranges: in: max: expected a number from 0/],
  [['ranges', 'in', 'min'], null, /ranges: in: min: expected a number/],
  [['ranges', 'in', 'clip', '9'], [0, 1], /clip: 9: expected a key from 2 to 8/],
  [['ranges', 'in', 'clip', '4'], [2, 1], /clip: 4/],
  [['quantizer', 'clip_rules', '4'], 'min-max', /clip_rules: 4: expected a key WxA/],
  [['quantizer', 'clip_rules', '4x4'], 'best', /4x4: expected one of min-max, squared-error, p-2.4/],
  [['quantizer', 'minimum_bits', 'conv'], { weights: 8 }, /conv: activations: expected a whole number from 2 to 32/],
  [['default_precision'], '1x1', /default_precision/],
  [['precisions', '8x8', 'accuracy'], 1.1, /accuracy: expected a number from 0 to 1, got 1.1/],
  [['precisions', '8x8', 'accuracy'], null, /accuracy: expected a number from 0 to 1, got nothing/],
  [['precisions', '8x8', 'macs'], 1.5, /macs: expected a whole number/],
  [['precisions', '8x9'], {}, /8x9: expected a key WxA/],
  [['precisions'], [], /precisions: expected an object/],
  [['training', 'seed'], 'x', /training: seed/],
  [['training', 'validation_share'], 2, /training: validation_share/],
  [['training', 'history'], [1], /training: history: expected an object, got 1/],
  [['training', 'from'], 7, /training: from: expected a string/],
];

for (const [path, value, message] of BAD) {
  test(`manifest: ${path.join('.')} = ${JSON.stringify(value)} is refused`, () => {
    const manifest = whole();
    let at = manifest as unknown as Record<string, Record<string, never>>;
    for (const key of path.slice(0, -1)) at = at[key];
    at[path[path.length - 1]] = value as never;
    assert.throws(() => parseManifest(JSON.stringify(manifest)), { code: 'bad_model', message });
  });
}

test('what is no manifest is refused', () => {
  for (const text of ['', '{', 'null', '[]', '7', '"x"', `${'['.repeat(50_000)}${']'.repeat(50_000)}`]) {
    assert.throws(() => parseManifest(text), { code: 'bad_model' }, text.slice(0, 10));
  }
});
