import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ModelStore } from '../../src/model/store.js';
import { openStore, publish } from './opened-store.js';
import { newVersion } from './versions.js';

const labels = async (store: ModelStore) => (await store.models())[0].labels;
const labelled = async (store: ModelStore, label: string) => (await store.get('tiny', label)).version;

test('stable is the current version until it is set, and again when it is taken away', async () => {
  const { store } = await openStore();
  await publish(store, 1);
  assert.deepEqual(await labels(store), { stable: 1 });
  await publish(store, 2);
  assert.equal(await labelled(store, 'stable'), 2);
  assert.equal((await store.setLabel('tiny', 'stable', 1)).version, 1);
  await publish(store, 3);
  assert.equal(await labelled(store, 'stable'), 1);
  assert.equal((await store.get('tiny')).version, 3, 'a label is no current version');
  await store.removeLabel('tiny', 'stable');
  assert.equal(await labelled(store, 'stable'), 3);
  await assert.rejects(store.removeLabel('tiny', 'stable'), { code: 'label_not_found' });
});

test('a label is kept, moved and taken away for every process that shares the folder', async () => {
  const { store, options, written } = await openStore();
  for (const mark of [1, 2]) await publish(store, mark);
  const other = new ModelStore(options);
  await assert.rejects(other.get('tiny', 'canary'), {
    code: 'label_not_found',
    message: 'label: expected one of stable of model "tiny", got "canary"',
  });
  await store.setLabel('tiny', 'canary', 1);
  await sleep(60);
  assert.equal(await labelled(other, 'canary'), 1, 'a miss is looked for again on disk');
  await store.setLabel('tiny', 'canary', 2);
  assert.equal(await labelled(store, 'canary'), 2);
  await sleep(600);
  assert.equal(await labelled(other, 'canary'), 2);
  assert.equal(await readFile(join(written, 'tiny', 'canary.label'), 'utf8'), '{"version":2}\n');
  assert.deepEqual(await labels(new ModelStore(options)), { canary: 2, stable: 2 });

  await store.removeLabel('tiny', 'canary');
  assert.ok(!(await readdir(join(written, 'tiny'))).some((name) => name.includes('label') || name.startsWith('.tmp')));
  await sleep(600);
  await assert.rejects(other.get('tiny', 'canary'), { code: 'label_not_found' });
});

test('labels that are set at the same time are all kept', async () => {
  const { store, options } = await openStore();
  for (const mark of [1, 2]) await publish(store, mark);
  const stores = [store, new ModelStore(options), new ModelStore(options)];
  const names = Array.from({ length: 12 }, (_, i) => `label-${i}`);
  await Promise.all(names.map((name, i) => stores[i % 3].setLabel('tiny', name, 1 + (i % 2))));
  const expected = Object.fromEntries(names.map((name, i) => [name, 1 + (i % 2)]));
  assert.deepEqual(await labels(new ModelStore(options)), { ...expected, stable: 2 });
});

test('a label of a shipped model is covered by one that was set here, and stays away once it is taken away', async () => {
  const { store, options } = await openStore();
  const shipping = new ModelStore({ modelsDir: options.modelsDir, writeTo: 'models' });
  await shipping.publish(newVersion(1), { makeCurrent: true });
  await shipping.setLabel('tiny', 'canary', 1);
  assert.equal(await labelled(store, 'canary'), 1);
  await publish(store, 2);
  await store.setLabel('tiny', 'canary', 2);
  assert.equal(await labelled(store, 'canary'), 2);
  await store.removeLabel('tiny', 'canary');
  await assert.rejects(store.get('tiny', 'canary'), { code: 'label_not_found' });
  await assert.rejects(store.removeLabel('tiny', 'canary'), { code: 'label_not_found' });
  assert.deepEqual(await labels(new ModelStore(options)), { stable: 2 });
  assert.equal((await shipping.models())[0].labels.canary, 1, 'the shipped folder is only read');
  await store.setLabel('tiny', 'canary', 1);
  assert.equal(await labelled(store, 'canary'), 1);
});

test('only a name that is a path segment is a label, and only a version that is there gets one', async () => {
  const { store, written } = await openStore();
  await publish(store, 1);
  const before = await readdir(join(written, 'tiny'));
  for (const label of ['', '.', '..', '../x', 'a/b', 'a..b', 'A', 'a b', 'a\0', 'x'.repeat(65), '__proto__', 'ñ']) {
    await assert.rejects(store.setLabel('tiny', label, 1), { code: 'invalid_field' }, label);
    await assert.rejects(store.get('tiny', label), { code: 'label_not_found' }, label);
    await assert.rejects(store.removeLabel('tiny', label), { code: 'label_not_found' }, label);
  }
  for (const label of ['constructor', 'tostring', '2', 'v1.0_rc-1']) {
    await assert.rejects(store.get('tiny', label), { code: 'label_not_found' }, label);
    await store.setLabel('tiny', label, 1);
    assert.equal(await labelled(store, label), 1);
    await store.removeLabel('tiny', label);
  }
  await assert.rejects(store.setLabel('tiny', 'canary', 2), { code: 'version_not_found' });
  await assert.rejects(store.setLabel('other', 'canary', 1), { code: 'model_not_found' });
  await assert.rejects(store.removeLabel('other', 'canary'), { code: 'model_not_found' });
  assert.deepEqual(await readdir(join(written, 'tiny')), before);
});

test('a label whose version is gone says so, and one that cannot be read is passed over', async () => {
  const { store, options, written } = await openStore();
  await publish(store, 1);
  const { digest } = await publish(store, 2);
  await store.setLabel('tiny', 'canary', 2);
  await store.setCurrent('tiny', 1);
  await rm(join(written, 'tiny', '2.version'));
  await rm(join(written, 'tiny', digest), { recursive: true });
  const later = new ModelStore(options);
  await assert.rejects(later.get('tiny', 'canary'), {
    code: 'version_not_found',
    message: 'label "canary" of model "tiny" stands for version 2, which is gone',
  });
  for (const [name, text] of [
    ['torn', '{"vers'],
    ['text', '{"version":"1"}'],
    ['zero', '{"version":0}'],
  ])
    await writeFile(join(written, 'tiny', `${name}.label`), text);
  await writeFile(join(written, 'tiny', 'Not A Label.label'), '{"version":1}');
  const warnings: string[] = [];
  const logger = { warn: (_: unknown, message: string) => void warnings.push(message) };
  assert.deepEqual(await labels(new ModelStore({ ...options, logger })), { canary: 2, stable: 1 });
  assert.deepEqual(
    warnings.sort(),
    ['text', 'torn', 'zero'].map((name) => `${name}.label is passed over`),
  );
});
