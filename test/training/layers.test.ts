import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Graph, Weights } from '../../src/model/graph.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { backward, crossEntropy, forward, type Offsets } from '../../src/training/pass.js';
import { Random } from '../../src/training/random.js';
import { toTensors } from '../../src/training/weights.js';
import { BACKEND, everyLayer, graphOf, normals, perceptron, randomWeights } from './nets.js';

before(async () => {
  await loadBackend(BACKEND);
});

const BATCH = 3;
const LABELS = Int32Array.of(2, 0, 3);

function image(graph: Graph, seed: number): tf.Tensor {
  const shape = [BATCH, ...graph.nodes[0].shape];
  return tf.tensor(
    normals(
      seed,
      shape.reduce((a, b) => a * b),
    ),
    shape,
  );
}

test('forward agrees with TF.js Layers on a net of every layer', () => {
  const model = everyLayer(1);
  const graph = graphOf(model);
  const weights = randomWeights(graph, 5);
  for (const layer of model.layers) {
    for (const variable of layer.weights) {
      const { shape, data } = weights.get(variable.originalName) ?? assert.fail(variable.originalName);
      variable.write(tf.tensor(data, shape));
    }
  }
  const x = image(graph, 6);
  const expected = (model.predict(x) as tf.Tensor).dataSync();
  const logits = forward(graph, toTensors(weights), x, { training: false }).logits;
  const actual = tf.tidy(() => {
    const powers = tf.exp(tf.sub(logits, tf.max(logits, 1, true)));
    return tf.div(powers, tf.sum(powers, 1, true)).dataSync();
  });
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(expected[i] - actual[i]) < 1e-5, `element ${i}: expected ${expected[i]}, got ${actual[i]}`);
  }
});

/** The loss in training, from TF.js's float32. */
function lossOf(graph: Graph, weights: Weights, x: tf.Tensor, seeds: number[], offsets: Offsets = {}) {
  const tensors = toTensors(weights);
  const loss = tf.tidy(() => {
    const { logits } = forward(graph, tensors, x, { training: true, seeds, offsets });
    return crossEntropy(logits, LABELS).loss.dataSync()[0];
  });
  tf.dispose(tensors);
  return loss;
}

function gradientsOf(graph: Graph, weights: Weights, x: tf.Tensor, seeds: number[], watch: string[]) {
  const run = forward(graph, toTensors(weights), x, { training: true, seeds });
  return backward(graph, run, crossEntropy(run.logits, LABELS).dLogits, watch);
}

test('weight gradients of a net of every layer agree with central differences', () => {
  const graph = graphOf(everyLayer());
  const weights = randomWeights(graph, 7);
  const x = image(graph, 8);
  const gradients = gradientsOf(graph, weights, x, [1], []).weights;
  const learned = [...weights.keys()].filter((name) => !name.includes('moving'));
  assert.deepEqual(Object.keys(gradients).sort(), learned.sort());
  const random = new Random(9);
  for (const name of learned) {
    const { shape, data } = weights.get(name) ?? assert.fail();
    const gradient = Array.from(gradients[name].dataSync());
    assert.deepEqual(gradients[name].shape, shape, name);
    // Along the gradient itself the derivative is its length: a wrong gradient cannot give that, and noise stays small.
    const norm = Math.hypot(...gradient);
    if (norm < 1e-6) continue;
    for (const direction of [
      gradient.map((g) => g / norm),
      gradient.map((g) => (g / norm) * (0.5 + random.uniform())),
    ]) {
      const slope = direction.reduce((sum, d, i) => sum + d * gradient[i], 0);
      const h = 2e-3;
      const moved = (sign: number) => {
        const copy = { shape, data: data.map((w, i) => w + sign * h * direction[i]) };
        return lossOf(graph, new Map([...weights, [name, copy]]), x, [1]);
      };
      const measured = (moved(1) - moved(-1)) / (2 * h);
      assert.ok(
        Math.abs(measured - slope) <= 0.03 * Math.abs(slope) + 3e-4,
        `${name}: gradient gives ${slope}, differences give ${measured}`,
      );
    }
  }
});

test('the gradient of an inner tensor agrees with central differences of an offset', () => {
  const graph = graphOf(everyLayer());
  const weights = randomWeights(graph, 17);
  const x = image(graph, 18);
  const watch = ['r1', 'c2/relu', 'a1', 'p1', 'k2', 'f1'].filter((name) => graph.nodes.some((n) => n.name === name));
  assert.ok(watch.length >= 5, `${graph.nodes.map((n) => n.name)}`);
  const { activations } = gradientsOf(graph, weights, x, [1], watch);
  for (const name of watch) {
    const gradient = activations[name].dataSync();
    const norm = Math.hypot(...gradient);
    const h = 2e-3;
    const moved = (sign: number) => {
      const offset = tf.tensor(
        gradient.map((g) => (sign * h * g) / norm),
        activations[name].shape,
      );
      return lossOf(graph, weights, x, [1], { [name]: (y) => tf.add(y, offset) });
    };
    const measured = (moved(1) - moved(-1)) / (2 * h);
    assert.ok(Math.abs(measured - norm) <= 0.05 * norm + 3e-4, `${name}: ${norm} against ${measured}`);
  }
});

test('batch norm follows the batch in training, with the momentum of its node', () => {
  const graph = graphOf(everyLayer());
  const weights = randomWeights(graph, 27);
  const x = image(graph, 28);
  const run = forward(graph, toTensors(weights), x, { training: true });
  const node = graph.nodes.find((n) => n.op === 'batch_norm') ?? assert.fail();
  assert.ok(node.op === 'batch_norm');
  const before = Array.from(run.outputs[node.inputs[0]].dataSync());
  const channels = node.shape[2];
  const old = weights.get(node.mean)?.data ?? assert.fail();
  const now = run.moving[node.mean].dataSync();
  for (let c = 0; c < channels; c++) {
    const values = before.filter((_, i) => i % channels === c);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const expected = node.momentum * old[c] + (1 - node.momentum) * mean;
    assert.ok(Math.abs(expected - now[c]) < 1e-5, `channel ${c}: ${expected}, ${now[c]}`);
  }
  assert.equal(Object.keys(run.moving).length, 4);
});

test('dropout: the same seeds give the same mask, which scales what it keeps; none outside training', () => {
  const graph = perceptron([400, 4], 'linear');
  const input = graph.nodes[0];
  graph.nodes.splice(1, 0, { op: 'dropout', name: 'drop', inputs: [input.name], shape: input.shape, rate: 0.25 });
  for (const node of graph.nodes.slice(2)) node.inputs = node.inputs.map((n) => (n === input.name ? 'drop' : n));
  const weights = toTensors(randomWeights(graph, 1));
  const x = tf.ones([BATCH, 400]);
  const dropped = (training: boolean, ...seeds: number[]) =>
    forward(graph, weights, x, { training, seeds }).outputs.drop.dataSync();
  const first = dropped(true, 1, 2);
  assert.deepEqual(dropped(true, 1, 2), first);
  assert.notDeepEqual(dropped(true, 1, 3), first);
  assert.ok(first.every((v) => v === 0 || Math.abs(v - 4 / 3) < 1e-6));
  const kept = first.filter((v) => v > 0).length / first.length;
  assert.ok(kept > 0.68 && kept < 0.82, `kept ${kept}`);
  assert.ok(dropped(false, 1, 2).every((v) => v === 1));
});
