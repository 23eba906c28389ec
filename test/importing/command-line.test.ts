import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ModelStore } from '../../src/model/store.js';
import { converted, writeConverted } from '../support/keras-files.js';
import { mobileNetV2 } from '../support/mobilenet.js';
import { folderOf, importedManifest } from './fixtures.js';

const COMMAND = fileURLToPath(new URL('../../src/cli/import.js', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [COMMAND, ...args], { encoding: 'utf8' });
const net = mobileNetV2({ side: 32, classes: 2, blocks: 1 });

test('npm run import writes what the service would, and says what it is', async (t) => {
  const [folder, out] = [folderOf(t), folderOf(t)];
  await writeConverted(folder, net, { quantize: 'uint8', shardBytes: 9000 });
  const labels = join(folder, 'names.txt');
  await writeFile(labels, 'no\nyes\n');
  const flags = ['--model', 'net', '--path', folder, '--out', out];
  const first = run(...flags, '--labels', labels, '--preprocessing', 'caffe', '--resize', 'contain');
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /parameters: .*1 depthwise_conv2d.*\nprecision .*\n32x32 +unknown/);
  assert.match(first.stdout, /ranges without data\nnet version 1, /);
  const store = new ModelStore({ modelsDir: out, writeTo: 'models' });
  const { manifest } = await store.get('net');
  const fields = { labels: ['no', 'yes'], preprocessing: 'caffe', resize: 'contain' };
  assert.deepEqual(
    { ...manifest, created: '', files: {} },
    { ...(await importedManifest(folder, fields)), created: '', files: {}, format: 'bitdial/1' },
  );

  const second = run(...flags, '--input-range=-1,1', '--keep-current');
  assert.match(second.stdout, /net version 2, /, second.stderr);
  store.refresh('net');
  assert.equal((await store.models())[0].current, 1);
  assert.deepEqual((await store.get('net', 2)).manifest.input.range, [-1, 1]);
});

test('npm run import refuses with a usage or with the reason, and writes nothing', async (t) => {
  const [folder, out] = [folderOf(t), folderOf(t)];
  const { document } = converted(net);
  await writeFile(join(folder, 'model.json'), JSON.stringify(document));
  const cases: [string[], number, RegExp][] = [
    [[], 2, /^--path: expected the folder of a model, got nothing\n\nusage: npm run import/],
    [['--path', folder], 2, /^model: expected a name, got nothing\n\nusage/],
    [['--model', 'net', '--path', join(folder, 'nothing')], 2, /^--path: expected a file or folder that is there/],
    [['--model', 'net', '--path', folder, '--preprocessing', 'imagenet'], 2, /^preprocessing: expected one of unit/],
    [['--model', 'net', '--path', folder, '--input-range', '1'], 2, /^input_range: expected \[low, high\]/],
    [['--model', 'net', '--path', folder, '--input-range', '0,x'], 2, /^input_range: expected \[low, high\]/],
    [
      ['--model', 'net', '--path', folder],
      1,
      /^group1-shard1of1.bin: expected a file that can be read, got "ENOENT"\n$/,
    ],
  ];
  for (const [args, status, message] of cases) {
    const ended = run(...args, '--out', out);
    assert.equal(ended.status, status, ended.stderr);
    assert.match(ended.stderr, message);
  }
  assert.equal(existsSync(join(out, 'net')), false);
});
