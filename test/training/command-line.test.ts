import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { invocation, withoutPlaces } from '../../src/cli/commit.js';
import { precisionTable } from '../../src/cli/precision-table.js';
import { calibrate } from '../../src/engine/calibration.js';
import { importGraph } from '../../src/model/import.js';
import { ModelStore } from '../../src/model/store.js';
import { isInteger, precisionKey, STANDARD_PRECISIONS } from '../../src/quantize/precision.js';
import { lenet } from '../../src/training/architectures/lenet.js';
import { findDataset } from '../../src/training/datasets/table.js';
import { initialWeights } from '../../src/training/weights.js';
import { imageFiles, shades, writeAll } from '../support/data-files.js';

function run(command: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../../src/cli/${command}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('the commands refuse what they do not know, with their usage, and write nothing', () => {
  const out = mkdtempSync(join(tmpdir(), 'bitdial-cli-'));
  const foreign = fileURLToPath(import.meta.url);
  const cases: [string, string[], RegExp][] = [
    ['train', [], /^--model: expected the name of a model, got nothing/],
    ['train', ['--model', 'x', '--bogus', '1'], /Unknown option '--bogus'/],
    ['train', ['--model', 'x', '--epochs', 'ten'], /^--epochs: expected a number, got "ten"/],
    ['train', ['--model', 'x', '--epochs', '0'], /^epochs: expected a whole number from 1 to \d+, got 0/],
    [
      'train',
      ['--model', 'x', '--dataset', 'imagenet'],
      /^dataset: expected one of "mnist", "cifar10", got "imagenet"/,
    ],
    [
      'train',
      ['--model', 'x', '--ratio-weights', '0.1', '--lambda-weights', '1'],
      /^regularizer.ratio_weights: expected nothing beside lambda_weights, which it sets, got 0.1/,
    ],
    ['train', ['--model', 'x', '--allow-dirty', '--checkpoint', foreign], /^--checkpoint: expected a checkpoint or no/],
    [
      'train',
      ['--model', 'x', '--allow-dirty', '--checkpoint', join(out, 'no', 'where')],
      /^--checkpoint: expected a folder that is there/,
    ],
    ['evaluate', ['a', 'b'], /^expected 0 to 1 names, got 2/],
    ['train', ['--model', 'x', '--flip', 'yes'], /^--flip: expected true or false, got "yes"/],
    ['train', ['--model', 'x', '--class-weights', '{'], /^--class-weights: .*JSON/],
    ['train', ['--model', 'x', '--class-weights', '{"a":0}'], /^class_weights: expected "balanced" or .*above 0/],
    ['dataset', [], /^expected 1 to 2 names, got 0/],
    ['dataset', ['imagenet'], /^expected one of cifar10, check, got "imagenet"/],
    ['dataset', ['check'], /^check: expected a folder, got 0/],
    ['dataset', ['cifar10', 'x'], /^cifar10: expected no more words, got 1/],
    ['reproduce', ['imagenet'], /^data set: expected one of mnist, cifar10, got "imagenet"/],
    ['reproduce', ['mnist', '--methods', 'plain,magic'], /^--methods: expected one of plain, .*, got "magic"/],
    ['reproduce', ['mnist', '--net', 'lenet', '--width', '9'], /^width: expected a number from 0.25 to 4, got 9/],
    ['reproduce', ['mnist', '--from-scratch', '--epochs', '3'], /^--epochs: expected nothing beside --from-scratch/],
    ['evaluate', ['--limit', '1.5'], /^--limit: expected a whole number from 1, got 1.5/],
  ];
  const flags: Record<string, string[]> = {
    train: ['--out', out],
    evaluate: ['--models', out],
    reproduce: ['--out', out],
  };
  for (const [command, args, message] of cases) {
    const { status, stderr } = run(command, ...args, ...(flags[command] ?? []));
    assert.match(stderr, message);
    assert.match(stderr, /usage: npm run (train|evaluate|dataset|reproduce) -- /);
    assert.doesNotMatch(stderr, /\n {4}at /);
    assert.equal(status, 2, stderr);
  }
  assert.deepEqual(readdirSync(out), []);
  const { status, stderr } = run('evaluate', 'nobody', '--models', out);
  assert.equal(status, 1);
  assert.equal(stderr, 'no model "nobody"\n');
  assert.equal(run('train', '--help').status, 0);
});

test('a folder is described, and one that is no data set is refused without a stack', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-cli-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const images = await imageFiles({ cat: shades(20, 0, 40), dog: shades(20, 200, 240) });
  await writeAll(folder, { ...images, 'cat/bad.png': 'x', 'dataset.json': '{"image_size":16}' });
  const described = run('dataset', 'check', folder);
  assert.equal(described.status, 0, described.stderr);
  assert.match(described.stdout, /^a folder of images: 2 classes of images of 16×16×3, 0 to 1, cover$/m);
  assert.match(described.stdout, /^augmentation: shift 2, mirrored at random$/m);
  assert.match(
    described.stdout,
    /^1 of 41 files of the data set cannot be read and are left out: cat\/bad.png: expected a whole/m,
  );
  const counts = [...described.stdout.matchAll(/^ {2}(?:cat|dog): (\d+) \+ (\d+) \+ (\d+)$/gm)];
  assert.deepEqual(
    counts.map(([, ...parts]) => parts.reduce((sum, n) => sum + Number(n), 0)),
    [20, 20],
  );
  const refused = run('dataset', 'check', join(folder, 'cat'));
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^data set cat: folder: expected IDX files .* got "0.png"/);
  assert.doesNotMatch(refused.stderr, /\n {4}at /);
});

test('the precision table as text', () => {
  const row = { images: 10000, memory_bytes: 1, macs: 1, energy_uj: 2.51234 };
  const precisions = { '32x32': { ...row, accuracy: 0.9912 }, '4x4': { ...row, accuracy: 0.9875 } };
  const bias_corrections = { layers: [{ name: 'f', channels: 3 }], offsets: { '4x4': 0 } };
  const chosen = { clip_rules: { '4x4': 'p-2.4' as const }, range_factors: { '4x4': 0.8 }, bias_corrections };
  const quantizer = { ...chosen, minimum_bits: {} };
  assert.deepEqual(precisionTable({ precisions, default_precision: '4x4', quantizer }).split('\n'), [
    'precision  accuracy  vs float  images  bytes     µJ  weights  ranges     biases',
    '32x32       99.12 %      0.00   10000      1  2.512                            ',
    '4x4 *       98.75 %     -0.37   10000      1  2.512    p-2.4   × 0.8  corrected',
    '* the default of a request that names no precision',
  ]);
});

test('evaluate --choose publishes the same weights with a quantiser chosen anew, and says how', async () => {
  const models = mkdtempSync(join(tmpdir(), 'bitdial-cli-'));
  const store = new ModelStore({ modelsDir: models, writeTo: 'models' });
  const topology = lenet([28, 28, 1], 10);
  const graph = importGraph(topology);
  const weights = initialWeights(graph, 1);
  const input = {
    shape: [28, 28, 1] as [number, number, number],
    range: [0, 1] as [number, number],
    resize: 'fill' as const,
  };
  const { validation } = await findDataset('mnist')();
  const { input: pixels } = await validation.batch([0, 1, 2, 3]);
  const ranges = calibrate(graph, weights, input, [{ input: pixels, batch: 4 }]);
  const labels = Array.from({ length: 10 }, (_, digit) => String(digit));
  const quantizer = { clip_rules: {}, minimum_bits: {} };
  const rest = { labels, default_precision: '8x8', precisions: {}, training: null };
  const manifest = { model: 'digits', input, ranges, quantizer, ...rest };
  const first = await store.publish({ manifest, topology, weights }, { makeCurrent: true });

  const none = run('evaluate', 'digits', '--choose', '--models', models);
  assert.equal(none.status, 1);
  assert.match(none.stderr, /^dataset: expected one of .*, got ""/);
  const args = ['digits', '--choose', '--dataset', 'mnist', '--limit', '60', '--models', models];
  const { status, stdout, stderr } = run('evaluate', ...args);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /biases\n/);
  const second = await new ModelStore({ modelsDir: models, writeTo: 'models' }).get('digits');
  assert.equal(second.version, 2);
  assert.equal(second.manifest.files['weights.bin'], first.manifest.files['weights.bin']);
  assert.equal(second.manifest.files['model.json'], first.manifest.files['model.json']);
  assert.deepEqual(second.manifest.ranges, first.manifest.ranges);
  const command = `npm run evaluate -- ${args.join(' ')}`;
  assert.deepEqual(second.manifest.quantizer.chosen_on, { dataset: 'mnist', images: 60, command, from: first.digest });
  const integer = STANDARD_PRECISIONS.filter(isInteger).map(precisionKey);
  assert.deepEqual(Object.keys(second.manifest.quantizer.clip_rules), integer);
  assert.deepEqual(Object.keys(second.manifest.precisions), STANDARD_PRECISIONS.map(precisionKey));
  const again = run('evaluate', 'digits', '--limit', '60', '--models', models);
  assert.equal(again.status, 0, again.stderr);
  const tables = [again.stdout, stdout].map((text) => text.split('\n').filter((line) => /^\d+x\d+/.test(line)));
  assert.deepEqual(tables[0], tables[1], 'measured again it is the same');
});

test('the command of a record names no folder of the machine', () => {
  const args = ['--model', 'x', '--out', '/somewhere/else', '--epochs', '2', '--checkpoint=/a/b', '--seed', '1'];
  const kept = withoutPlaces(args, ['--out', '--checkpoint']);
  assert.equal(invocation('train', kept), 'npm run train -- --model x --epochs 2 --seed 1');
});
