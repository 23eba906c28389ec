import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { precisionTable } from '../../src/cli/precision-table.js';

function run(command: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../../src/cli/${command}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('the commands refuse what they do not know, with their usage, and write nothing', () => {
  const out = mkdtempSync(join(tmpdir(), 'bitdial-cli-'));
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
    ['evaluate', ['a', 'b'], /^expected 0 to 1 names, got 2/],
    ['dataset', [], /^expected 1 names, got 0/],
    ['dataset', ['imagenet'], /^expected one of cifar10, got "imagenet"/],
    ['evaluate', ['--limit', '1.5'], /^--limit: expected a whole number from 1, got 1.5/],
  ];
  const flags: Record<string, string[]> = { train: ['--out', out], evaluate: ['--models', out] };
  for (const [command, args, message] of cases) {
    const { status, stderr } = run(command, ...args, ...(flags[command] ?? []));
    assert.match(stderr, message);
    assert.match(stderr, /usage: npm run (train|evaluate|dataset) -- /);
    assert.doesNotMatch(stderr, /\n {4}at /);
    assert.equal(status, 2, stderr);
  }
  assert.deepEqual(readdirSync(out), []);
  const { status, stderr } = run('evaluate', 'nobody', '--models', out);
  assert.equal(status, 1);
  assert.equal(stderr, 'no model "nobody"\n');
  assert.equal(run('train', '--help').status, 0);
});

test('the precision table as text', () => {
  const row = { images: 10000, memory_bytes: 1, macs: 1, energy_uj: 2.51234 };
  const precisions = { '32x32': { ...row, accuracy: 0.9912 }, '4x4': { ...row, accuracy: 0.9875 } };
  assert.deepEqual(precisionTable({ precisions, default_precision: '4x4' }).split('\n'), [
    'precision  accuracy  vs float  images  bytes     µJ',
    '32x32       99.12 %      0.00   10000      1  2.512',
    '4x4 *       98.75 %     -0.37   10000      1  2.512',
    '* the default of a request that names no precision',
  ]);
});
