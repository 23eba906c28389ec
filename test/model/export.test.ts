import assert from 'node:assert/strict';
import { test } from 'node:test';
import '@tensorflow/tfjs-backend-cpu';
import * as tfl from '@tensorflow/tfjs-layers';
import { exportGraph } from '../../src/model/export.js';
import type { Graph } from '../../src/model/graph.js';
import { importGraph } from '../../src/model/import.js';
import { ARCHITECTURES } from '../../src/training/architectures/table.js';
import { randomLayersModel } from '../support/layers-models.js';
import { Random } from '../support/random.js';

/** As deepEqual sees them, whatever fields a node writes first. */
const plain = (graph: Graph): unknown => JSON.parse(JSON.stringify(graph));

test('an exported graph is imported as the same graph', () => {
  for (const [name, architecture] of Object.entries(ARCHITECTURES)) {
    const graph = importGraph(architecture([32, 32, 3], 10));
    assert.deepEqual(plain(importGraph(exportGraph(graph))), plain(graph), name);
  }
  const random = new Random(12);
  for (let i = 0; i < 30; i++) {
    const graph = importGraph({ modelTopology: randomLayersModel(random).toJSON(null, false) });
    assert.deepEqual(plain(importGraph(exportGraph(graph))), plain(graph), `net ${i}`);
  }
});

test('TF.js Layers reads an exported graph', async () => {
  const random = new Random(13);
  for (let i = 0; i < 5; i++) {
    const model = randomLayersModel(random);
    const graph = importGraph({ modelTopology: model.toJSON(null, false) });
    const read = await tfl.models.modelFromJSON(exportGraph(graph) as never);
    assert.deepEqual(read.outputs[0].shape, model.outputs[0].shape);
    assert.equal(read.countParams(), model.countParams());
  }
});
