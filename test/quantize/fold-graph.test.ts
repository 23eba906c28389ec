import assert from 'node:assert/strict';
import { test } from 'node:test';
import '@tensorflow/tfjs-backend-cpu';
import * as tfl from '@tensorflow/tfjs-layers';
import { runPlan } from '../../src/engine/reference.js';
import { checkWeights } from '../../src/model/check.js';
import { exportGraph } from '../../src/model/export.js';
import type { Graph, Weights } from '../../src/model/graph.js';
import { importGraph } from '../../src/model/import.js';
import { buildPlan } from '../../src/quantize/build.js';
import { foldGraph } from '../../src/quantize/fold-graph.js';
import { builtIn } from '../../src/training/architectures/table.js';
import { everyLayer, graphOf, normals, randomWeights } from '../training/nets.js';

function logits(graph: Graph, weights: Weights, input: Float32Array, batch: number): Float32Array {
  const shape = graph.nodes[0].shape as [number, number, number];
  const source = {
    input: { shape, range: [0, 1] as [number, number], resize: 'fill' as const },
    ranges: {},
    quantizer: { clip_rules: {}, minimum_bits: {} },
  };
  return runPlan(buildPlan(graph, weights, source, { weightBits: 32, activationBits: 32 }), input, batch);
}

test('a dropout between a layer and its batch norm stays', () => {
  const model = tfl.sequential();
  model.add(tfl.layers.conv2d({ inputShape: [5, 5, 1], filters: 3, kernelSize: 3, name: 'c' }));
  model.add(tfl.layers.dropout({ rate: 0.5, name: 'd' }));
  model.add(tfl.layers.batchNormalization({ name: 'b' }));
  model.add(tfl.layers.flatten({ name: 's' }));
  model.add(tfl.layers.dense({ units: 2, name: 'f' }));
  const graph = graphOf(model);
  const folded = foldGraph(graph, randomWeights(graph, 1)).graph;
  const inputs = Object.fromEntries(folded.nodes.map((node) => [node.name, node.inputs]));
  assert.deepEqual([inputs.b, inputs.s, inputs.d], [undefined, ['d'], ['c']]);
});

test('a folded net has no batch norm that a layer could take in, and answers as before', () => {
  const resnet = importGraph(builtIn('resnet-20', [16, 16, 3], 5, 1));
  for (const [graph, left] of [
    [resnet, 0],
    [graphOf(everyLayer()), 0],
  ] as const) {
    const weights = randomWeights(graph, 3);
    const folded = foldGraph(graph, weights);
    assert.equal(folded.graph.nodes.filter(({ op }) => op === 'batch_norm').length, left);
    const again = importGraph(exportGraph(folded.graph));
    assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify(folded.graph)));
    checkWeights(again, folded.weights);
    const input = normals(4, 2 * graph.nodes[0].shape.reduce((a, b) => a * b, 1));
    const expected = logits(graph, weights, input, 2);
    const actual = logits(again, folded.weights, input, 2);
    const largest = Math.max(...expected.map(Math.abs));
    for (const [i, wanted] of expected.entries()) {
      assert.ok(Math.abs(actual[i] - wanted) <= 1e-5 * largest, `${actual[i]} for ${wanted}`);
    }
  }
});
