import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ModelStore } from '../../src/model/store.js';
import { temporaryName } from '../../src/model/temporary.js';
import { current, openStore, publish } from './opened-store.js';
import { newVersion } from './versions.js';

test('models and versions that are not there are not found, whatever they are called', async () => {
  const { store, options } = await openStore();
  await publish(store, 1);
  const traversals = [
    '../tiny',
    'tiny/../tiny',
    '..',
    '.',
    '',
    '/etc',
    'tiny/',
    'a\0b',
    'TINY',
    '__proto__',
    '.tmp',
    'x'.repeat(65),
    '%2e%2e',
    'a..b',
    'models\\tiny',
    'nö',
  ];
  await mkdir(join(options.dataDir, 'models', 'a..b'), { recursive: true });
  for (const name of traversals) {
    await assert.rejects(store.get(name), { code: 'model_not_found' }, name);
    await assert.rejects(store.setCurrent(name, 1), { code: 'model_not_found' }, name);
    await assert.rejects(store.publish(newVersion(1, name), { makeCurrent: true }), { code: 'invalid_field' }, name);
  }
  for (const version of [0, 2, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
    await assert.rejects(store.get('tiny', version), { code: 'version_not_found' }, `${version}`);
  }
});

test('what does not hold together is not published', async () => {
  const { store, written } = await openStore();
  const refused = async (change: (v: ReturnType<typeof newVersion>) => void, message: RegExp) => {
    const version = newVersion(1);
    change(version);
    await assert.rejects(store.publish(version, { makeCurrent: true }), { code: 'bad_model', message });
  };
  await refused(
    (v) => void v.manifest.labels.push('maybe'),
    /output: expected \[3\], one number for each label, got \[2\]/,
  );
  await refused((v) => {
    v.manifest.input.shape = [2, 3, 1];
  }, /input: shape: expected the model's input \[2, 2, 1\]/);
  await refused((v) => {
    v.manifest.default_precision = '9x9';
  }, /default_precision/);
  await refused((v) => {
    v.manifest.precisions['8x8'].accuracy = Number.NaN;
  }, /accuracy: expected a number from 0 to 1/);
  await refused((v) => void v.weights.delete('out/bias'), /"out\/bias"/);
  await refused(
    (v) => void v.weights.set('out/bias', { shape: [3], data: new Float32Array(3) }),
    /shape \[2\], got \[3\]/,
  );
  await refused((v) => void v.weights.get('out/bias')?.data.fill(Number.NaN), /finite/);
  await refused((v) => {
    v.topology = {};
  }, /class_name/);
  await refused((v) => {
    v.topology.note = JSON.parse('['.repeat(20_000) + ']'.repeat(20_000));
  }, /JSON/);
  await assert.rejects(readdir(written), { code: 'ENOENT' });
});

test('tampered files are found out', async () => {
  const { store, options } = await openStore();
  const flip = async (path: string, at: number) => {
    const bytes = await readFile(path);
    bytes[at] ^= 1;
    await writeFile(path, bytes);
  };
  const weights = await publish(store, 1);
  await flip(join(weights.folder, 'weights.bin'), 20);
  await assert.rejects(store.source(weights).readWeights(), {
    code: 'bad_model',
    message: /weights.bin: expected SHA-256/,
  });
  const manifest = await publish(store, 2);
  await flip(join(manifest.folder, 'manifest.json'), 40);
  const model = await publish(store, 3);
  await flip(join(model.folder, 'model.json'), 30);
  const short = await publish(store, 4);
  await truncate(join(short.folder, 'weights.bin'), 100);
  const gone = await publish(store, 5);
  await rm(join(gone.folder, 'model.json'));
  const whole = await publish(store, 6);

  const warnings: string[] = [];
  const other = new ModelStore({ ...options, logger: { warn: (_, message) => void warnings.push(message) } });
  assert.deepEqual(
    (await other.models())[0].versions.map(({ version }) => version),
    [1, 6],
  );
  assert.deepEqual(
    warnings.sort(),
    [2, 3, 4, 5].map((n) => `version ${n} is passed over`),
  );
  await assert.rejects(other.get('tiny', 3), { code: 'version_not_found' });
  assert.equal((await other.get('tiny')).digest, whole.digest);
  other.refresh('tiny');
  await other.models();
  assert.equal(warnings.length, 4, 'each is warned of once');
});

test('broken files in the folders are passed over', async () => {
  const { store, options, warnings, written } = await openStore();
  const { digest } = await publish(store, 1);
  const put = (name: string, text: string) => writeFile(join(written, 'tiny', name), text);
  await put('2.version', '');
  await put('3.version', '{"digest": "../../x"}');
  await put('4.version', JSON.stringify({ digest: '0'.repeat(64) }));
  await put('05.version', JSON.stringify({ digest }));
  await put('current.json', '{"version": ');
  await writeFile(join(written, 'README'), 'a file among the models');
  await mkdir(join(written, 'empty'));
  // A kill came between the folder and its number.
  await mkdir(join(written, 'tiny', '1'.repeat(64)));
  store.refresh('tiny');
  assert.deepEqual(await store.models(), [
    { name: 'tiny', current: 1, labels: { stable: 1 }, versions: [{ version: 1, digest }] },
  ]);
  assert.equal(warnings.length, 4);
  await assert.rejects(store.get('empty'), { code: 'model_not_found' });
  await put('current.json', '{"version": 4}');
  store.refresh('tiny');
  assert.equal(await current(store), 1);
  assert.equal((await publish(store, 2)).version, 5, 'a number that was taken stays taken');
  assert.equal(await current(new ModelStore(options)), 5);
});

test('what killed writers left is removed, what may be in work is not', async () => {
  const { store, options, written } = await openStore();
  await publish(store, 1);
  const model = join(written, 'tiny');
  const own = temporaryName();
  const [, , machine] = /^(\.tmp)-([0-9a-f]{8})/.exec(own) ?? [];
  // No process has so high an id.
  const dead = `.tmp-${machine}-99999999-00`;
  const foreign = `.tmp-${'0'.repeat(8)}-1-00`;
  const old = `.tmp-${'0'.repeat(8)}-1-01`;
  for (const name of [own, dead, foreign, old]) {
    await mkdir(join(model, name));
    await writeFile(join(model, name, 'weights.bin'), 'half');
  }
  await utimes(join(model, old), 1e9, 1e9);
  assert.equal((await new ModelStore(options).models())[0].versions.length, 1);
  const left = (await readdir(model)).filter((name) => name.startsWith('.tmp'));
  assert.deepEqual(left.sort(), [own, foreign].sort());
});
