/** From another's model to one of one's own, over HTTP alone: imported, asked, fine-tuned on images, asked again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import supertest from 'supertest';
import { tarOf } from '../support/archives.js';
import { imageFiles, png, shades } from '../support/data-files.js';
import { converted } from '../support/keras-files.js';
import { mobileNetV2 } from '../support/mobilenet.js';
import { ServiceProcess } from './service-process.js';

test('an imported model is fine-tuned with the regulariser, and keeps the input that its weights were made for', async (t) => {
  const service = await ServiceProcess.start(t, { ADMIN_TOKEN: 'mine' });
  const http = supertest(await service.ready());
  const admin = (sent: supertest.Test) => sent.set('authorization', 'Bearer mine');
  const upload = (path: string, files: Record<string, string | Buffer>) =>
    admin(http.post(path))
      .set('content-type', 'application/x-tar')
      .send(tarOf(Object.entries(files).map(([name, data]) => ({ name, data }))));

  const { document, bytes } = converted(mobileNetV2({ side: 32, classes: 2, blocks: 2, seed: 3 }), {
    quantize: 'float16',
  });
  const [{ paths }] = document.weightsManifest;
  assert.equal(paths.length, 1);
  const files = { 'model.json': JSON.stringify(document), [paths[0]]: bytes, 'labels.txt': 'dark\nlight\n' };
  const imported = await upload('/admin/models?model=shades&preprocessing=caffe&resize=contain', files).expect(201);
  // the line is written before the answer, but by another pipe
  for (let i = 0; i < 100 && !/"msg":"model imported"/.test(service.stdout); i++) await sleep(20);
  assert.match(service.stdout, /"msg":"model imported"/);
  const images = await imageFiles({ dark: shades(40, 0, 70), light: shades(40, 180, 250) });
  await upload('/admin/datasets?name=shades', images).expect(201);

  const body = {
    model: 'shades',
    dataset: 'shades',
    from: 'current',
    epochs: 6,
    batch_size: 16,
    learning_rate: 0.01,
    fold_batch_norm: true,
    regularizer: { kind: 'gradient-l1', start_epoch: 5 },
  };
  let { job } = (await admin(http.post('/admin/train')).send(body).expect(202)).body;
  while (job.state === 'queued' || job.state === 'running') {
    await sleep(50);
    job = (await admin(http.get(`/admin/jobs/${job.id}`)).expect(200)).body.job;
  }
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));

  const { version, precisions, manifest } = (await http.get('/models/shades').expect(200)).body;
  assert.equal(version, 2);
  assert.deepEqual(manifest.input, imported.body.input);
  assert.equal(manifest.input.channel_order, 'bgr');
  assert.deepEqual(manifest.labels, ['dark', 'light']);
  assert.equal(manifest.imported, undefined);
  assert.equal(manifest.training.from, imported.body.digest);
  const eight = precisions.find(
    (row: { bits: number; activation_bits: number }) => row.bits === 8 && row.activation_bits === 8,
  );
  assert.ok(eight.images > 0 && eight.accuracy > 0.9, JSON.stringify(eight));
  for (const [shade, label] of [
    [30, 'dark'],
    [220, 'light'],
  ] as const) {
    const image = await png(`rgb(${shade},${shade},${shade})`, 50, 50);
    const sent = http.post('/predict?model=shades&min_accuracy=0.5').set('content-type', 'image/png').send(image);
    assert.equal((await sent.expect(200)).body.predictions[0].label, label);
  }
});
