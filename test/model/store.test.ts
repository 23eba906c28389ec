import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { importGraph } from '../../src/model/import.js';
import { ModelStore } from '../../src/model/store.js';
import { current, openStore, publish } from './opened-store.js';
import { saveModel, tf, tfl } from './saved-model.js';
import { markOf, newVersion } from './versions.js';

test('a version that is published is read back, here and by another store', async () => {
  const { store, options, written } = await openStore();
  assert.deepEqual(await store.models(), []);
  const before = Date.now();
  const version = await publish(store, 1);
  assert.equal(version.version, 1);
  assert.match(version.digest, /^[0-9a-f]{64}$/);
  assert.equal(version.folder, join(written, 'tiny', version.digest));
  assert.deepEqual(
    version.graph.nodes.map(({ op }) => op),
    ['input', 'conv2d', 'relu', 'reshape', 'dense'],
  );
  const { format, created, files, ...rest } = version.manifest;
  assert.equal(format, 'bitdial/1');
  assert.ok(Date.parse(created) >= before && Date.parse(created) <= Date.now());
  assert.deepEqual(Object.keys(files), ['model.json', 'weights.bin']);
  assert.deepEqual(rest, newVersion(1).manifest);
  const again = await new ModelStore(options).get('tiny');
  assert.deepEqual(again, version);
  const weights = await store.source(again).readWeights();
  assert.deepEqual(weights, newVersion(1).weights);
  assert.deepEqual(await store.models(), [
    { name: 'tiny', current: 1, labels: { stable: 1 }, versions: [{ version: 1, digest: version.digest }] },
  ]);
  assert.deepEqual((await readdir(join(written, 'tiny'))).sort(), ['1.version', version.digest, 'current.json'].sort());
});

test('TF.js itself loads the files of a version, and answers alike', async () => {
  const { store } = await openStore();
  const { folder } = await publish(store, 3);
  const { modelTopology, weightsManifest } = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8'));
  const bytes = await readFile(join(folder, 'weights.bin'));
  await tf.setBackend('cpu');
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const load = async () => ({ modelTopology, weightSpecs: weightsManifest[0].weights, weightData });
  const model = await tfl.loadLayersModel({ load });
  const logits = model.predict(tf.ones([1, 2, 2, 1])) as tf.Tensor;
  assert.deepEqual([...logits.dataSync()], [12 + 3, 12 - 3]);
});

test('a topology by itself is published too, with weights named as the graph names them', async () => {
  const { store } = await openStore();
  const model = tfl.sequential({
    layers: [tfl.layers.flatten({ inputShape: [2, 2, 1] }), tfl.layers.dense({ units: 2 })],
  });
  const { document } = await saveModel(model);
  const graph = importGraph(document);
  const weights = new Map(
    model.weights.map((w) => [
      w.originalName,
      { shape: w.shape as number[], data: w.read().dataSync() as Float32Array },
    ]),
  );
  const { manifest } = newVersion(0);
  const version = await store.publish({ manifest, topology: document.modelTopology, weights }, { makeCurrent: true });
  assert.deepEqual(version.graph, graph);
});

test('content that is there already is not published twice', async () => {
  const { store, options } = await openStore();
  const first = await publish(store, 1);
  await sleep(5);
  assert.deepEqual(await publish(store, 1), first);
  assert.deepEqual(await publish(new ModelStore(options), 1), first);
  const { digest: second } = await publish(store, 2);
  assert.equal((await publish(store, 1)).version, 1);
  assert.equal(await current(store), 1);
  const copy = newVersion(1);
  // From a manifest that was read: its time and files do not count.
  assert.equal((await store.publish({ ...copy, manifest: first.manifest }, { makeCurrent: false })).version, 1);
  assert.deepEqual((await store.models())[0].versions, [
    { version: 1, digest: first.digest },
    { version: 2, digest: second },
  ]);
});

test('current moves only when it is asked to', async () => {
  const { store, options } = await openStore();
  await publish(store, 1, false);
  assert.equal(await current(store), 1, 'the only version is current');
  await publish(store, 2, false);
  assert.equal(await current(store), 1);
  await publish(store, 3, true);
  assert.equal(await current(store), 3);
  assert.equal((await store.setCurrent('tiny', 2)).version, 2);
  assert.equal(await current(store), 2);
  await publish(store, 4, false);
  assert.equal(await current(store), 2);
  assert.equal(await current(new ModelStore(options)), 2);
  assert.equal((await store.get('tiny', 4)).version, 4);
  await assert.rejects(store.setCurrent('tiny', 9), { code: 'version_not_found' });
  await assert.rejects(store.setCurrent('none', 1), { code: 'model_not_found' });
  assert.equal(await current(store), 2);
});

test('another store notices what is published and made current', async () => {
  const { store, options } = await openStore();
  await publish(store, 1);
  const other = new ModelStore(options);
  assert.equal(await current(other), 1);
  await publish(store, 2);
  assert.equal((await other.get('tiny', 2).catch(() => sleep(60).then(() => other.get('tiny', 2)))).version, 2);
  const deadline = Date.now() + 10_000;
  while ((await current(other)) !== 2 && Date.now() < deadline) await sleep(20);
  assert.equal(await current(other), 2);
  await store.setCurrent('tiny', 1);
  other.refresh('tiny');
  assert.equal(await current(other), 1, 'a refresh sees it at once');
  await store.publish(newVersion(7, 'second'), { makeCurrent: true });
  while ((await other.models()).length < 2 && Date.now() < deadline) await sleep(20);
  assert.deepEqual(
    (await other.models()).map(({ name }) => name),
    ['second', 'tiny'],
  );
});

test('shipped versions are served, and ours go before them', async () => {
  const { store, options, warnings, written } = await openStore();
  const shipping = new ModelStore({ modelsDir: options.modelsDir, writeTo: 'models' });
  await publish(shipping, 1);
  await publish(shipping, 2, false);
  assert.equal(await current(store), 1, "the shipped current.json's");
  await assert.rejects(readdir(written), { code: 'ENOENT' });
  const ours = await publish(store, 3);
  assert.equal(ours.version, 3, 'numbers go on after the shipped ones');
  assert.equal(await current(store), 3);
  assert.equal((await store.setCurrent('tiny', 2)).folder.startsWith(options.modelsDir), true);
  assert.equal(await current(store), 2);
  assert.equal(await current(shipping), 1, 'what is shipped stays as it was');
  assert.deepEqual(warnings, []);
  await publish(shipping, 4, true);
  store.refresh('tiny');
  assert.equal((await store.get('tiny', 3)).digest, ours.digest);
  assert.equal(await current(store), 2);
  assert.deepEqual(warnings.length, 1);
  assert.match(warnings[0], /version 3 is hidden/);
  assert.equal((await publish(store, 5)).version, 4);
});

test('many at once in one process: every number once, nothing lost', async () => {
  const { store } = await openStore();
  const marks = Array.from({ length: 12 }, (_, i) => i + 1);
  const versions = await Promise.all(marks.map((mark) => publish(store, mark)));
  assert.deepEqual(
    versions.map(({ version }) => version).sort((a, b) => a - b),
    marks,
  );
  const found = await Promise.all(versions.map(async (v) => markOf(await store.source(v).readWeights())));
  assert.deepEqual(found, marks);
});

test('what is to be published once is, whoever tries how often, and wherever', async () => {
  const { store, options, written } = await openStore();
  await publish(store, 100);
  const others = Array.from({ length: 6 }, () => new ModelStore(options));
  const once = { makeCurrent: true, once: 'job-1' };
  const versions = await Promise.all(others.map((other, i) => other.publish(newVersion(i + 1), once)));
  assert.deepEqual([...new Set(versions.map(({ version }) => version))], [2]);
  assert.equal(new Set(versions.map(({ digest }) => digest)).size, 1);
  const again = await store.publish(newVersion(50), once);
  assert.equal(again.digest, versions[0].digest);
  const [{ versions: all, current }] = await store.models();
  assert.deepEqual([all.length, current], [2, 2]);
  const folders = (await readdir(join(written, 'tiny'))).filter((name) => /^[0-9a-f]{64}$/.test(name));
  assert.equal(folders.length, 2, 'what was written in vain is gone');
  assert.equal((await store.publish(newVersion(51), { makeCurrent: true, once: 'job-2' })).version, 3);
});

test('what was published once turns nothing back that was made current since, also with the same content', async () => {
  const { store } = await openStore();
  const once = { makeCurrent: true, once: 'job-1' };
  const first = await store.publish(newVersion(1), once);
  await publish(store, 2, true);
  for (const mark of [1, 3]) {
    const late = await store.publish(newVersion(mark), once);
    assert.deepEqual([late.version, late.digest], [1, first.digest]);
    assert.equal((await store.models())[0].current, 2);
  }
});

test('a publication that a kill cut off before its number is gone on with, as it was', async () => {
  const { store, written } = await openStore();
  const first = await store.publish(newVersion(1), { makeCurrent: true, once: 'job-1' });
  await rm(join(written, 'tiny', '1.version'));
  await rm(join(written, 'tiny', 'current.json'));
  store.refresh('tiny');
  await assert.rejects(store.get('tiny'), { code: 'model_not_found' });
  const second = await store.publish(newVersion(2), { makeCurrent: true, once: 'job-1' });
  assert.deepEqual([second.version, second.digest], [1, first.digest]);
  assert.equal(markOf(await store.source(second).readWeights()), 1);
});
