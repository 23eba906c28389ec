/** From a tar of one's own images to a prediction, over HTTP alone, on the real service. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import supertest from 'supertest';
import { activation, conv2d, dense, flatten, sequential } from '../../src/training/architectures/topology.js';
import { tarOf } from '../support/archives.js';
import { imageFiles, png, shades } from '../support/data-files.js';
import { assertProblem } from './answers.js';
import { ServiceProcess } from './service-process.js';

const net = sequential(
  'net',
  [8, 8, 3],
  [
    conv2d('conv', 4, 3, 'same', 'relu'),
    flatten('flat'),
    dense('logits', 2, 'linear'),
    activation('softmax', 'softmax'),
  ],
);

test('images are uploaded, trained on, and told apart; what cannot be read is in every record', async (t) => {
  const service = await ServiceProcess.start(t, { ADMIN_TOKEN: 'mine' });
  const http = supertest(await service.ready());
  const admin = (sent: supertest.Test) => sent.set('authorization', 'Bearer mine');
  const images = await imageFiles({ dark: shades(40, 0, 70), light: shades(40, 180, 250) });
  const files = { ...images, 'light/bad.jpg': 'no image', 'dataset.json': '{"augmentation":{"shift":1}}' };
  const archive = tarOf(Object.entries(files).map(([name, data]) => ({ name, data })));
  const upload = admin(http.post('/admin/datasets?name=shades')).set('content-type', 'application/x-tar');
  const added = await upload.send(archive).expect(201);
  assert.deepEqual([added.body.kind, added.body.skipped.count], ['images', 1]);

  const body = {
    model: 'shades',
    dataset: 'shades',
    architecture: net,
    image_size: 8,
    epochs: 12,
    batch_size: 16,
    learning_rate: 0.02,
    regularizer: { kind: 'none' },
    class_weights: 'balanced',
    augmentation: { flip: false },
    validation_share: 0.1,
  };
  const wrong = { ...body, dataset: 'shade' };
  const problem = assertProblem(await admin(http.post('/admin/train')).send(wrong), 'invalid_field');
  assert.match(problem.detail as string, /"mnist", "cifar10", "shades", got "shade"/);

  const accepted = await admin(http.post('/admin/train')).send(body).expect(202);
  const { id } = accepted.body.job;
  const used = assertProblem(await admin(http.delete('/admin/datasets/shades')), 'dataset_in_use');
  assert.equal(used.job, id);
  let job = accepted.body.job;
  while (job.state === 'queued' || job.state === 'running') {
    await sleep(50);
    job = (await admin(http.get(`/admin/jobs/${id}`)).expect(200)).body.job;
  }
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  const { count, of, files: named } = job.progress.skipped;
  assert.deepEqual([count, of], [1, 81]);
  assert.match(named[0], /^light\/bad.jpg: expected a whole JPEG/);

  assert.match(service.stdout, /1 of 81 files of the data set cannot be read and are left out: light\/bad\.jpg/);

  const { manifest } = (await http.get('/models/shades').expect(200)).body;
  assert.deepEqual(manifest.input, { shape: [8, 8, 3], range: [0, 1], resize: 'cover' });
  assert.deepEqual(manifest.labels, ['dark', 'light']);
  assert.deepEqual(manifest.training.skipped, job.progress.skipped);
  assert.deepEqual(manifest.training.augmentation, { shift: 1, flip: false });
  assert.match(manifest.training.command, /--dataset shades .*--image-size 8 --flip false --class-weights balanced/);
  assert.ok(job.result.accuracies['8x8'] > 0.9, JSON.stringify(job.result.accuracies));
  for (const [shade, label] of [
    [30, 'dark'],
    [220, 'light'],
  ] as const) {
    const image = await png(`rgb(${shade},${shade},${shade})`, 50, 40);
    const sent = http.post('/predict?model=shades&bits=8').set('content-type', 'image/png').send(image);
    assert.equal((await sent.expect(200)).body.predictions[0].label, label);
  }

  await admin(http.delete('/admin/datasets/shades')).expect(204);
});
