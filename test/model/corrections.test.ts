import assert from 'node:assert/strict';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeCorrections, encodeCorrections, readCorrections } from '../../src/model/corrections.js';
import { parseManifest } from '../../src/model/manifest.js';
import { ModelStore } from '../../src/model/store.js';
import { openStore, publish } from './opened-store.js';
import { newVersion } from './versions.js';

/** Of the tiny net's layers, at two precisions. */
const corrections = () =>
  new Map(
    ['4x4', '3x8'].map((key, i) => [
      key,
      new Map([
        ['mix', Float32Array.from([0.5, -1.25, i])],
        ['out', Float32Array.from([1e-3, 7])],
      ]),
    ]),
  );
const corrected = (mark: number) => ({ ...newVersion(mark), corrections: corrections() });

test('corrections come back from the store as they were published, a precision at a time', async () => {
  const { store, options } = await openStore();
  const { folder } = await store.publish(corrected(1), { makeCurrent: true });
  const again = await new ModelStore(options).get('tiny');
  assert.deepEqual(again.manifest.quantizer.bias_corrections, {
    layers: [
      { name: 'mix', channels: 3 },
      { name: 'out', channels: 2 },
    ],
    offsets: { '4x4': 0, '3x8': 20 },
  });
  const source = store.source(again);
  for (const [key, layers] of corrections()) assert.deepEqual(await source.readCorrections(key), layers);
  await assert.rejects(source.readCorrections('8x8'), { code: 'bad_model', message: /a block of precision 8x8/ });
  assert.equal((await readFile(join(folder, 'corrections.bin'))).length, 40);
  const same = await store.publish(corrected(1), { makeCurrent: true });
  assert.equal(same.version, 1, 'the same content is the same version');
  const other = corrected(1);
  other.corrections.get('4x4')?.get('out')?.fill(3);
  assert.equal((await store.publish(other, { makeCurrent: true })).version, 2, 'they are part of the digest');
});

test('a version without the file is read as before', async () => {
  const { store } = await openStore();
  const version = await publish(store, 1);
  assert.equal('corrections.bin' in version.manifest.files, false);
  assert.equal(version.manifest.quantizer.bias_corrections, undefined);
  await assert.rejects(readCorrections(version.folder, '4x4'), { code: 'bad_model', message: /bias_corrections/ });
});

test('a file that is cut, changed or gone makes the version one that cannot be read, in words', async () => {
  const { store, options } = await openStore();
  const harms: [string, (path: string) => Promise<void>, RegExp][] = [
    ['cut', (path) => truncate(path, 36), /corrections.bin: expected SHA-256/],
    ['empty', (path) => truncate(path, 0), /corrections.bin: expected SHA-256/],
    ['longer', async (path) => writeFile(path, Buffer.concat([await readFile(path), Buffer.alloc(4)])), /SHA-256/],
    ['changed', async (path) => writeFile(path, (await readFile(path)).fill(1, 8, 9)), /SHA-256/],
    ['gone', (path) => rm(path), /corrections.bin: expected a file that can be read, got "ENOENT"/],
  ];
  await publish(store, 99);
  for (const [i, [, harm, message]] of harms.entries()) {
    const version = await store.publish(corrected(i), { makeCurrent: true });
    await harm(join(version.folder, 'corrections.bin'));
    await assert.rejects(store.source(version).readCorrections('4x4'), { code: 'bad_model', message });
  }
  const reasons: string[] = [];
  const logger = { warn: (fields: Record<string, unknown>) => void reasons.push(String(fields.err)) };
  const [entry] = await new ModelStore({ ...options, logger }).models();
  assert.deepEqual(
    entry.versions.map(({ version }) => version),
    [1],
  );
  for (const [what, , message] of harms)
    assert.ok(
      reasons.some((reason) => message.test(reason)),
      what,
    );
});

test('corrections that do not fit the model are not published', async () => {
  const { store } = await openStore();
  const refused = async (change: (layers: Map<string, Float32Array>) => void, message: RegExp) => {
    const version = corrected(1);
    for (const layers of version.corrections.values()) change(layers);
    await assert.rejects(store.publish(version, { makeCurrent: true }), { code: 'bad_model', message });
  };
  await refused((layers) => void layers.set('mix', new Float32Array(4)), /layer "mix": expected 3 channels, got 4/);
  await refused(
    (layers) => void layers.set('flat', new Float32Array(12)),
    /layer "flat": expected a layer of the model/,
  );
  await refused((layers) => void layers.get('mix')?.fill(Number.NaN), /mix at 0: expected a finite number, got NaN/);
  await refused((layers) => layers.clear(), /layers: expected one layer at least/);
  const uneven = corrected(1);
  uneven.corrections.get('3x8')?.delete('out');
  await assert.rejects(store.publish(uneven, { makeCurrent: true }), { code: 'bad_model', message: /3x8: .*2 layers/ });
  const floats = { ...newVersion(1), corrections: new Map([['16x16', new Map([['out', new Float32Array(2)]])]]) };
  await assert.rejects(store.publish(floats, { makeCurrent: true }), { code: 'bad_model', message: /16x16/ });
  const claims = newVersion(1);
  claims.manifest.quantizer.bias_corrections = encodeCorrections(corrections())?.index;
  await assert.rejects(store.publish(claims, { makeCurrent: true }), { code: 'bad_model', message: /corrections/ });
});

test('whatever an index says, only errors in words come out', () => {
  const index = { layers: [{ name: 'out', channels: 2 }], offsets: { '4x4': 0 } };
  const manifestOf = (changed: unknown) =>
    JSON.stringify({
      format: 'bitdial/1',
      created: '2024-05-06T07:08:09Z',
      ...newVersion(1).manifest,
      files: { 'model.json': 'a'.repeat(64), 'weights.bin': 'b'.repeat(64), 'corrections.bin': 'c'.repeat(64) },
      quantizer: { clip_rules: {}, minimum_bits: {}, bias_corrections: changed },
    });
  assert.deepEqual(parseManifest(manifestOf(index)).quantizer.bias_corrections, index);
  const odd: unknown[] = [
    undefined,
    null,
    [],
    7,
    {},
    { ...index, layers: [] },
    { ...index, layers: [7] },
    { ...index, layers: [{ name: 'out', channels: 0 }] },
    { ...index, layers: [{ name: 'out', channels: 2 ** 40 }] },
    { ...index, layers: [...index.layers, ...index.layers] },
    { ...index, offsets: {} },
    { ...index, offsets: { '4x4': -8 } },
    { ...index, offsets: { '4x4': 4 } },
    { ...index, offsets: { '4x4': 0, '5x5': 0 } },
    { ...index, offsets: { '4x4': 0, '5x5': 16 } },
    { ...index, offsets: { '4x4': 0.5 } },
    { ...index, offsets: { '4x16': 0 } },
    { ...index, offsets: { '4x4': Number.NaN } },
  ];
  for (const changed of odd) {
    assert.throws(() => parseManifest(manifestOf(changed)), { code: 'bad_model' }, JSON.stringify(changed));
  }
  assert.throws(() => decodeCorrections(index, Buffer.alloc(7), '4x4'), {
    code: 'bad_model',
    message: /8 bytes, got 7/,
  });
  assert.throws(() => decodeCorrections(index, Buffer.alloc(8, 255), '4x4'), { code: 'bad_model', message: /finite/ });
});
