/** The routes of data sets, over the real store: uploads that become one, and uploads that leave nothing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, rename, symlink } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Test } from 'supertest';
import type { ErrorCode } from '../../src/errors.js';
import { DatasetStore, type DatasetStoreOptions } from '../../src/training/datasets/store.js';
import { tarOf } from '../support/archives.js';
import { idxFiles, imageFiles, shades, writeAll } from '../support/data-files.js';
import { assertAnswer, assertProblem } from './answers.js';
import { AUTHORIZATION, testApp } from './app.js';

const TAR = 'application/x-tar';

async function datasetApp(t: TestContext, more: Partial<DatasetStoreOptions> = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), 'bitdial-uploads-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const limits = { maxBytes: 50_000_000, maxFiles: 200, maxImagePixels: 1_000_000 };
  const store = () => new DatasetStore({ dataDir, ...limits, usedBy: async () => null, ...more });
  const { http, app } = await testApp(t, { datasets: store() });
  const admin = (sent: Test) => sent.set('authorization', AUTHORIZATION);
  return {
    app,
    dataDir,
    store,
    folders: () => (existsSync(join(dataDir, 'datasets')) ? readdirSync(join(dataDir, 'datasets')).sort() : []),
    list: () => admin(http.get('/admin/datasets')),
    remove: (name: string) => admin(http.delete(`/admin/datasets/${name}`)),
    upload: (query: string, body: Buffer, type = TAR) =>
      admin(http.post(`/admin/datasets?${query}`))
        .set('content-type', type)
        .send(body),
  };
}

function archiveOf(files: Record<string, Buffer | string>): Buffer {
  return tarOf(Object.entries(files).map(([name, data]) => ({ name, data })));
}

const pets = archiveOf({
  ...(await imageFiles({ cat: shades(20, 0, 40), dog: shades(20, 200, 240) })),
  'cat/bad.jpg': 'no image',
  'dataset.json': '{"image_size":8}',
});
const digits = archiveOf(idxFiles([4, 4], 40, 10));

test('an archive becomes a data set, which is listed and removed', async (t) => {
  const app = await datasetApp(t);
  const added = await app.upload('name=pets', pets).expect(201);
  assertAnswer(app.app, added, 'post', '/admin/datasets');
  const { examples, skipped, ...rest } = added.body;
  assert.deepEqual(rest, { name: 'pets', kind: 'images', input_shape: [8, 8, 3], labels: ['cat', 'dog'] });
  assert.equal(examples.train + examples.validation + examples.test, 40);
  assert.deepEqual([skipped.count, skipped.of], [1, 41]);
  assert.match(skipped.files[0], /^cat\/bad.jpg: /);

  const digitsAdded = await app.upload('name=digits&replace=true', gzipSync(digits), 'application/gzip').expect(201);
  assert.deepEqual(digitsAdded.body.examples, { train: 38, validation: 2, test: 10 });
  assert.deepEqual(app.folders(), ['digits', 'pets']);
  const listed = await app.list().expect(200);
  assertAnswer(app.app, listed, 'get', '/admin/datasets');
  assert.deepEqual(
    listed.body.datasets.map((d: { name: string; kind: string }) => [d.name, d.kind]),
    [
      ['mnist', 'idx'],
      ['cifar10', null],
      ['digits', 'idx'],
      ['pets', 'images'],
    ],
  );
  assert.match(listed.body.datasets[1].error, /npm run dataset -- cifar10/);

  await app.remove('pets').expect(204);
  assert.deepEqual(app.folders(), ['digits']);
  assert.deepEqual(readdirSync(join(app.dataDir, 'cache', 'datasets')), []);
  assertProblem(await app.remove('pets'), 'dataset_not_found');
});

test('an archive as tar itself writes it, with a folder around everything', async (t) => {
  const app = await datasetApp(t);
  const folder = join(app.dataDir, 'made', 'my pets');
  await writeAll(folder, await imageFiles({ 'a cat': shades(5, 0, 40), 'ein Hünd': shades(5, 200, 240) }));
  const { stdout, status } = spawnSync('tar', ['-cz', '-C', join(app.dataDir, 'made'), 'my pets']);
  if (status !== 0) return t.skip('there is no tar');
  const { body } = await app.upload('name=pets', stdout, 'application/gzip').expect(201);
  assert.deepEqual(body.labels, ['a cat', 'ein Hünd']);
  assert.deepEqual(body.input_shape, [32, 32, 3]);
});

test('a name that is taken is taken, unless it is to be replaced, and not while a job uses it', async (t) => {
  let job: string | null = null;
  const app = await datasetApp(t, { usedBy: async (name) => (name === 'set' ? job : null) });
  await app.upload('name=set', digits).expect(201);
  assertProblem(await app.upload('name=set', pets), 'dataset_exists');
  assertProblem(await app.upload('name=set&replace=false', pets), 'dataset_exists');
  job = 'job-1';
  assert.equal(assertProblem(await app.upload('name=set&replace=true', pets), 'dataset_in_use').job, 'job-1');
  assert.equal(assertProblem(await app.remove('set'), 'dataset_in_use').job, 'job-1');
  job = null;
  assert.equal((await app.upload('name=set&replace=true', pets).expect(201)).body.kind, 'images');
  assert.equal((await app.list()).body.datasets[2].kind, 'images');
  // Of many at once under one name, one wins and none is mixed.
  const codes = await Promise.all([1, 2, 3].map(async () => (await app.upload('name=new', digits)).status));
  assert.deepEqual(codes.sort(), [201, 409, 409]);
  assert.deepEqual(app.folders(), ['new', 'set']);
});

test('what is no data set leaves nothing, and what was there stays', async (t) => {
  const app = await datasetApp(t);
  await app.upload('name=set', digits).expect(201);
  const cases: [string, Buffer, ErrorCode, RegExp][] = [
    ['notes', archiveOf({ 'notes.txt': 'x' }), 'bad_dataset', /expected IDX files .* got "notes.txt"/],
    ['cut', pets.subarray(0, 5000), 'bad_archive', /whole tar archive/],
    ['no end', tarOf([{ name: 'a', data: 'b' }], false), 'bad_archive', /without an end/],
    ['text', Buffer.from('hello'.repeat(300)), 'bad_archive', /tar archive/],
    ['a link', tarOf([{ name: 'cat', type: '2', link: '/etc' }]), 'bad_archive', /SymbolicLink/],
    ['a device', tarOf([{ name: 'cat', type: '3' }]), 'bad_archive', /CharacterDevice/],
    ['absolute', archiveOf({ '/etc/cat': 'x' }), 'bad_archive', /relative names/],
    ['outward', archiveOf({ 'a/../../cat': 'x' }), 'bad_archive', /without ".."/],
    [
      'files',
      archiveOf(Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`a/${i}`, '']))),
      'body_too_large',
      /200 files/,
    ],
    ['bytes', tarOf([{ name: 'a', size: 60_000_000 }]), 'body_too_large', /50000000 bytes/],
    [
      'bad files',
      archiveOf({ 'a/1.png': 'x', 'b/1.png': 'x' }),
      'bad_dataset',
      /at most 0 of 2 files to be unreadable.*a\/1.png/,
    ],
    ['one class', archiveOf({ 'x/a/1.png': 'x', 'x/notes.txt': '' }), 'bad_dataset', /sub-folder for each class/],
  ];
  for (const [name, body, code, message] of cases) {
    for (const query of ['name=other', 'name=set&replace=true']) {
      const problem = assertProblem(await app.upload(query, body), code, name);
      assert.match(problem.detail as string, message, name);
      assert.ok(!(problem.detail as string).includes(app.dataDir), name);
    }
  }
  assert.deepEqual(app.folders(), ['set']);
  assert.equal((await app.list()).body.datasets[2].kind, 'idx');
  assert.deepEqual(readdirSync(join(app.dataDir, 'cache', 'datasets')), []);
});

test('an upload that is refused leaves the cache of what has the name, and none of its own', async (t) => {
  let asked = 0;
  // The job begins while the archive arrives.
  const app = await datasetApp(t, { usedBy: async () => (asked++ === 0 ? null : 'job-1') });
  const cached = () => readdirSync(join(app.dataDir, 'cache', 'datasets'));
  await app.upload('name=pets', pets).expect(201);
  const first = cached();
  assert.equal(first.length, 1);
  const others = archiveOf({ ...(await imageFiles({ cat: shades(9, 0, 40), dog: shades(9, 200, 240) })) });
  assertProblem(await app.upload('name=pets&replace=true', others), 'dataset_in_use');
  assert.deepEqual(cached(), first);
  const none = archiveOf({
    ...(await imageFiles({ cat: shades(9, 0, 40) })),
    'dog/0.png': 'no image',
    'dataset.json': '{"bad_file_share":0.5}',
  });
  assertProblem(await app.upload('name=new', none), 'bad_dataset');
  assert.deepEqual(cached(), first);
});

test('a replacement removes the old cache, also where a replaced set was left over', async (t) => {
  const app = await datasetApp(t);
  await app.upload('name=pets', pets).expect(201);
  await mkdir(join(app.dataDir, 'datasets', '.replaced-pets', 'cat'), { recursive: true });
  await app.upload('name=pets&replace=true', digits).expect(201);
  assert.deepEqual(app.folders(), ['pets']);
  assert.deepEqual(readdirSync(join(app.dataDir, 'cache', 'datasets')), []);
});

test('of two uploads of one name the second is refused, and so is its removal', async (t) => {
  const app = await datasetApp(t);
  await app.upload('name=x', digits).expect(201);
  const { port } = app.app.server.address() as AddressInfo;
  const headers = { authorization: AUTHORIZATION, 'content-type': TAR };
  const path = '/admin/datasets?name=x&replace=true';
  const upload = httpRequest({ port, host: '127.0.0.1', method: 'POST', path, headers });
  upload.on('error', () => undefined);
  upload.write(digits.subarray(0, 600));
  while (app.folders().length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  assertProblem(await app.upload('name=x&replace=true', digits), 'dataset_in_use');
  assertProblem(await app.remove('x'), 'dataset_in_use');
  upload.destroy();
  while (app.folders().length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
  await app.remove('x').expect(204);
});

test('two replicas over one folder do not change a data set at the same time', async (t) => {
  const held = new Set<string>();
  const lock = async (name: string) => {
    if (held.has(name)) return null;
    held.add(name);
    return async () => void held.delete(name);
  };
  const app = await datasetApp(t, { lock });
  held.add('pets');
  const problem = assertProblem(await app.upload('name=pets', pets), 'dataset_in_use');
  assert.match(problem.detail as string, /no other upload/);
  assert.deepEqual(app.folders(), []);
  await app.upload('name=others', digits).expect(201);
  held.delete('pets');
  await app.upload('name=pets', pets).expect(201);
  assert.deepEqual([...held], [], 'it is let go');
  held.add('pets');
  assertProblem(await app.remove('pets'), 'dataset_in_use');
  assertProblem(await app.upload('name=pets&replace=true', digits), 'dataset_in_use');
  held.delete('pets');
  await app.remove('pets').expect(204);
  assert.deepEqual([...held], []);
});

test('a folder that cannot be read is listed with what is wrong', async (t) => {
  const app = await datasetApp(t);
  const root = join(app.dataDir, 'datasets');
  for (const name of ['within', 'below']) await mkdir(join(root, name, 'test', 'cat'), { recursive: true });
  await symlink('loop', join(root, 'loop'));
  await symlink('train', join(root, 'within', 'train'));
  await mkdir(join(root, 'below', 'train'));
  await symlink('cat', join(root, 'below', 'train', 'cat'));
  const listed = (await app.list().expect(200)).body.datasets.slice(2) as { name: string; error: string | null }[];
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['below', 'loop', 'within'],
  );
  assert.match(listed[1].error as string, /ELOOP/);
});

test('an upload that breaks off leaves nothing', async (t) => {
  const app = await datasetApp(t);
  const { port } = app.app.server.address() as AddressInfo;
  const headers = { authorization: AUTHORIZATION, 'content-type': TAR, 'content-length': pets.length };
  const options = { port, host: '127.0.0.1', method: 'POST', path: '/admin/datasets?name=pets', headers };
  const upload = httpRequest(options);
  upload.on('error', () => undefined);
  upload.write(pets.subarray(0, 20_000));
  while (app.folders().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  upload.destroy();
  while (app.folders().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal((await app.list()).body.datasets.length, 2);
});

test('a store that starts removes what a killed one left, and puts back what it was about to replace', async (t) => {
  const app = await datasetApp(t);
  await app.upload('name=set', digits).expect(201);
  await app.upload('name=other', digits).expect(201);
  const root = join(app.dataDir, 'datasets');
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const [own] = await temporaryNames(app);
  const leftover = own.replace(/-\d+-/, `-${dead}-`);
  for (const folder of [root, join(app.dataDir, 'cache', 'datasets')]) {
    await mkdir(join(folder, leftover, 'cat'), { recursive: true });
  }
  await rename(join(root, 'set'), join(root, '.replaced-set'));
  await mkdir(join(root, '.replaced-other'));
  app.store();
  assert.deepEqual(app.folders(), ['other', 'set']);
  assert.deepEqual(readdirSync(join(app.dataDir, 'cache', 'datasets')), []);
  assert.equal((await app.list()).body.datasets[3].kind, 'idx');
});

/** What an upload is called while it goes on. */
async function temporaryNames(app: Awaited<ReturnType<typeof datasetApp>>): Promise<string[]> {
  const { port } = app.app.server.address() as AddressInfo;
  const headers = { authorization: AUTHORIZATION, 'content-type': TAR };
  const upload = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/admin/datasets?name=x', headers });
  upload.on('error', () => undefined);
  upload.write(digits.subarray(0, 600));
  const hidden = () => app.folders().filter((name) => name.startsWith('.tmp-'));
  while (hidden().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const names = hidden();
  upload.destroy();
  while (hidden().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  return names;
}
