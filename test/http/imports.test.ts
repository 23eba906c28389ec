import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { type ArchiveEntry, tarOf } from '../support/archives.js';
import { converted, writeConverted } from '../support/keras-files.js';
import { mobileNetV2 } from '../support/mobilenet.js';
import { assertAnswer, assertProblem } from './answers.js';
import { AUTHORIZATION, testApp } from './app.js';
import { FakeImporter } from './fakes.js';
import { importApp } from './import-app.js';

const net = mobileNetV2({ side: 32, classes: 3, blocks: 3, seed: 6 });
const SHARD = 40_000;
const LABELS = 'cat\ndog\nbird\n';

/** The files of a model in an archive, with changes by name. */
function files(changes: Record<string, string | Buffer | null> = {}): ArchiveEntry[] {
  const { document, bytes } = converted(net, { quantize: 'uint8', shardBytes: SHARD });
  const shards = document.weightsManifest[0].paths.map((path, i): [string, Buffer] => [
    path,
    bytes.subarray(i * SHARD, (i + 1) * SHARD),
  ]);
  const all = {
    'model.json': JSON.stringify(document),
    'labels.txt': LABELS,
    ...Object.fromEntries(shards),
    ...changes,
  };
  return Object.entries(all).flatMap(([name, data]) => (data === null ? [] : [{ name: `net/${name}`, data }]));
}

const picture = await sharp({ create: { width: 50, height: 40, channels: 3, background: '#3070c0' } })
  .png()
  .toBuffer();

test('a model comes as an archive, is served at every width, and keeps what the query said', async (t) => {
  const { app, http, post, dataDir } = await importApp(t);
  const query = '?model=pets&preprocessing=caffe&resize=contain';
  const bytes = gzipSync(tarOf(files()));
  const response = await post(query).set('content-type', 'application/gzip').send(bytes).expect(201);
  assertAnswer(app, response, 'post', '/admin/models');
  const { body } = response;
  assert.equal(response.headers.location, '/models/pets?version=1');
  assert.deepEqual([body.model, body.version, body.labels, body.ranges], ['pets', 1, 3, 'data-free']);
  assert.deepEqual([body.layers.depthwise_conv2d, body.layers.zero_pad, body.default_precision], [3, 2, '8x8']);
  assert.deepEqual([body.input.channel_order, body.input.resize], ['bgr', 'contain']);
  assert.equal(body.precisions.length, 14);
  assert.ok(body.precisions.every((row: { accuracy: unknown }) => row.accuracy === null));
  assert.deepEqual(await readdir(join(dataDir, 'imports')), [], 'nothing of the upload is left');

  const models = await http.get('/models/pets').expect(200);
  assertAnswer(app, models, 'get', '/models/{model}');
  for (const bits of ['2', '4', '8', '16', '32', '4&activation_bits=8']) {
    const answer = await http
      .post(`/predict?model=pets&bits=${bits}`)
      .set('content-type', 'image/png')
      .send(picture)
      .expect(200);
    assert.ok(LABELS.includes(answer.body.predictions[0].label));
    assert.equal(answer.body.cost.expected_accuracy, null);
  }
  const send = (query: string) =>
    http.post(`/predict?model=pets&${query}`).set('content-type', 'image/png').send(picture);
  const cheap = await send(`max_memory_kib=${body.precisions.at(-1).memory_bytes / 1024}`).expect(200);
  assert.deepEqual([cheap.body.bits, cheap.body.activation_bits], [2, 8]);
  const refused = assertProblem(await send('min_accuracy=0.5'), 'accuracy_unknown');
  assert.match(refused.detail as string, /imported without test images/);

  const again = await post(query).set('content-type', 'application/x-tar').send(tarOf(files())).expect(201);
  assert.equal(again.body.digest, body.digest, 'the same model is the same version');
});

test('a model comes by its path below DATA_DIR/imports, with images for its ranges', async (t) => {
  const { http, post, dataDir } = await importApp(t);
  await writeConverted(join(dataDir, 'imports', 'net'), net);
  await mkdir(join(dataDir, 'pictures'));
  await writeFile(join(dataDir, 'pictures', 'one.png'), picture);
  const body = {
    model: 'net',
    path: 'net/model.json',
    labels: ['a', 'b', 'c'],
    calibration: 'pictures',
    input_range: [-1, 1],
  };
  const first = await post().send(body).expect(201);
  assert.deepEqual([first.body.ranges, first.body.calibration_images], ['calibration', 1]);
  const second = await post()
    .send({ ...body, path: 'net', calibration: undefined, make_current: false })
    .expect(201);
  assert.deepEqual([second.body.version, second.body.ranges], [2, 'data-free']);
  const { current, manifest } = (await http.get('/models/net').expect(200)).body;
  assert.deepEqual([current, manifest.labels], [1, ['a', 'b', 'c']]);
});

test('paths stay where they belong', async (t) => {
  const { post, dataDir } = await importApp(t);
  await writeConverted(join(dataDir, 'outside'), net);
  await mkdir(join(dataDir, 'imports'), { recursive: true });
  await writeConverted(join(dataDir, 'imports', 'net'), net);
  await symlink(join(dataDir, 'outside'), join(dataDir, 'imports', 'link'));
  const wrong = [
    '../outside',
    '/etc/passwd',
    'net/../../outside',
    './net',
    'net//model.json',
    'a\\b',
    'link',
    'nothing',
    '.hidden',
    'x'.repeat(5000),
  ];
  for (const path of wrong) {
    const problem = assertProblem(await post().send({ model: 'net', path }), 'invalid_field', path.slice(0, 20));
    assert.equal(problem.field, 'path');
    assert.ok(!JSON.stringify(problem).includes(dataDir), 'a path of the machine is told');
  }
  for (const calibration of ['../..', '/tmp', 'nothing', 'imports/net/model.json', 'imports/net']) {
    const problem = assertProblem(await post().send({ model: 'net', path: 'net', calibration }), 'invalid_field');
    assert.equal(problem.field, 'calibration', calibration);
  }
});

test('archives that hold no model are refused with the reason, and leave nothing', async (t) => {
  const { http, post, dataDir } = await importApp(t, 1_000_000);
  const { document } = converted(net, { quantize: 'uint8', shardBytes: SHARD });
  const changed = (change: (copy: typeof document) => unknown) => {
    const copy = JSON.parse(JSON.stringify(document));
    change(copy);
    return JSON.stringify(copy);
  };
  const lstm = changed((copy) => (copy.modelTopology.model_config.config.layers[3].class_name = 'LSTM'));
  const shape = changed((copy) => (copy.weightsManifest[0].weights[0].shape = [3, 3]));
  const cases: [Buffer, string, RegExp][] = [
    [tarOf([{ name: 'readme.md', data: 'x' }]), 'bad_model', /model.json: expected one in the folder/],
    [tarOf(files({ 'model.json': '{' })), 'bad_model', /model.json: expected JSON/],
    [tarOf(files({ 'model.json': '{}' })), 'bad_model', /class_name/],
    [tarOf(files({ 'model.json': lstm })), 'unsupported_layer', /"bn_Conv1" \(LSTM\)/],
    [tarOf(files({ 'model.json': shape })), 'bad_model', /"Conv1\/kernel".*shape/],
    [
      tarOf(
        files({
          'group1-shard1of1.bin': Buffer.alloc(1),
          'model.json': changed((c) => (c.weightsManifest[0].paths = ['group1-shard1of1.bin'])),
        }),
      ),
      'bad_model',
      /expected \d+ bytes, got 1/,
    ],
    [tarOf(files({ 'labels.txt': 'one\n' })), 'invalid_field', /labels.txt: expected 3 labels/],
    [tarOf([{ name: '../model.json', data: '{}' }]), 'bad_archive', /without "\.\."/],
    [tarOf([{ name: 'model.json', type: '2', link: '/etc/passwd' }]), 'bad_archive', /SymbolicLink/],
    [tarOf(files()).subarray(0, 5000), 'bad_archive', /Truncated/],
    [Buffer.from('not an archive'), 'bad_archive', /whole tar/],
    [tarOf([{ name: 'big', size: 2_000_000 }]), 'body_too_large', /1000000 bytes/],
  ];
  for (const [bytes, code, detail] of cases) {
    const response = await post('?model=net').set('content-type', 'application/x-tar').send(bytes);
    assert.match(assertProblem(response, code as never, code).detail as string, detail);
    assert.deepEqual(await readdir(join(dataDir, 'imports')), []);
  }
  assertProblem(await http.get('/models/net'), 'model_not_found');
});

test('one import at a time; the next one finds the place free, also after one that broke off', async (t) => {
  const { post, dataDir } = await importApp(t);
  await writeConverted(join(dataDir, 'imports', 'net'), net);
  const body = { model: 'net', path: 'net' };
  const answers = await Promise.all([1, 2, 3].map(() => post().send(body)));
  const refused = answers.filter(({ status }) => status === 429);
  assert.equal(answers.filter(({ status }) => status === 201).length, 3 - refused.length);
  assert.ok(refused.length >= 1);
  for (const response of refused) {
    assertProblem(response, 'too_many_requests');
    assert.equal(response.headers['retry-after'], '5');
  }
  assertProblem(await post().send({ ...body, path: 'nothing' }), 'invalid_field');
  await post().send(body).expect(201);
});

test('an upload that is slow holds up nobody, and there are four at most', async (t) => {
  const { app, post, dataDir } = await importApp(t);
  await writeConverted(join(dataDir, 'imports', 'net'), net);
  const { port } = app.server.address() as AddressInfo;
  const headers = { authorization: AUTHORIZATION, 'content-type': 'application/x-tar' };
  const options = { port, host: '127.0.0.1', method: 'POST', path: '/admin/models?model=slow', headers };
  const folders = async () => (await readdir(join(dataDir, 'imports'))).filter((name) => name.startsWith('.tmp-'));
  const bytes = tarOf(files());
  const uploads = [1, 2, 3, 4].map(() => {
    const upload = httpRequest(options);
    upload.on('error', () => undefined);
    upload.write(bytes.subarray(0, 5000));
    return upload;
  });
  while ((await folders()).length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  await post().send({ model: 'net', path: 'net' }).expect(201);
  const fifth = await post('?model=net').set('content-type', 'application/x-tar').send(bytes);
  assert.match(assertProblem(fifth, 'too_many_requests').detail as string, /at most 4 uploads/);
  for (const upload of uploads) upload.destroy();
  while ((await folders()).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await post('?model=net').set('content-type', 'application/x-tar').send(bytes).expect(201);
});

test('what is asked for in a query is what is asked for in fields', async (t) => {
  const importer = new FakeImporter();
  const { http } = await testApp(t, { importer });
  const fields = { preprocessing: 'tf', resize: 'cover', calibration: 'a/b', calibration_images: 7 };
  const query = new URLSearchParams({ model: 'net', ...fields, make_current: 'false', input_shape: '4,4,1' } as never);
  const send = (path: string) => http.post(path).set('authorization', AUTHORIZATION);
  await send(`/admin/models?${query}`).set('content-type', 'application/x-tar').send('x').expect(201);
  await send('/admin/models')
    .send({ model: 'net', path: 'p', ...fields, make_current: false, input_shape: [4, 4, 1] })
    .expect(201);
  await send('/admin/models?model=net&input_range=-2.5,3')
    .set('content-type', 'application/gzip')
    .send('x')
    .expect(201);
  const [byQuery, byFields, range] = importer.requests;
  assert.deepEqual(byQuery, [null, 'a/b', byFields[2]]);
  assert.deepEqual(byFields.slice(0, 2), ['p', 'a/b']);
  assert.deepEqual(byFields[2].inputShape, [4, 4, 1]);
  assert.equal(byFields[2].makeCurrent, false);
  assert.deepEqual(range[2].input, { range: [-2.5, 3] });
});
