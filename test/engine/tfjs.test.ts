import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { runPlan } from '../../src/engine/reference.js';
import { importGraph } from '../../src/model/import.js';
import { readWeights } from '../../src/model/weights.js';
import { buildPlan } from '../../src/quantize/build.js';
import { softmax } from '../../src/serving/softmax.js';
import { randomLayersModel, saveLayersModel } from '../support/layers-models.js';
import { Random } from '../support/random.js';

const folder = await mkdtemp(join(tmpdir(), 'bitdial-tfjs-'));
after(() => rm(folder, { recursive: true }));

test('40 random TF.js Layers models of every layer: 32-bit answers agree with predict to 1e-4', async () => {
  await tf.setBackend('cpu');
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const model = randomLayersModel(random);
    const { document, bytes } = await saveLayersModel(model);
    await writeFile(join(folder, 'model.json'), JSON.stringify(document));
    await writeFile(join(folder, 'weights.bin'), bytes);
    const graph = importGraph(document);
    const shape = graph.nodes[0].shape as [number, number, number];
    const source = {
      input: { shape, range: [-3, 3] as [number, number], resize: 'fill' as const },
      ranges: {},
      quantizer: { clip_rules: {}, minimum_bits: {} },
    };
    const plan = buildPlan(graph, await readWeights(folder), source, { weightBits: 32, activationBits: 32 });
    const batch = 3;
    const input = random.normals(batch * shape[0] * shape[1] * shape[2]);
    const logits = runPlan(plan, input, batch);
    const want = (model.predict(tf.tensor(input, [batch, ...shape])) as tf.Tensor).dataSync();
    const classes = want.length / batch;
    const probabilities = graph.nodes.at(-1)?.op === 'softmax';
    for (let n = 0; n < batch; n++) {
      const row = logits.slice(n * classes, (n + 1) * classes);
      const got = probabilities ? softmax(row) : row;
      const expected = want.slice(n * classes, (n + 1) * classes);
      const norm = Math.max(...expected.map(Math.abs));
      expected.forEach((v, c) => {
        assert.ok(Math.abs(got[c] - v) <= 1e-4 * norm, `seed ${seed}, class ${c}: TF.js ${v}, here ${got[c]}`);
      });
    }
    model.dispose();
  }
});
