import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from '../../src/model/graph.js';
import { loadBackend } from '../../src/tensorflow/backend.js';
import {
  type Batch,
  type Regularized,
  regularized,
  type Strength,
  stepGradients,
} from '../../src/training/regularizer.js';
import { toTensors } from '../../src/training/weights.js';
import { BACKEND, normals, perceptron, randomWeights } from './nets.js';

before(async () => {
  await loadBackend(BACKEND);
});

/**
 * The exact reference: a perceptron in float64. Its gradient is written by hand; that of the regulariser is central
 * differences of the norms, so it shares nothing with the rule under test.
 */
class Reference {
  readonly #labels: number[];
  constructor(
    readonly widths: number[],
    readonly relu: boolean,
    readonly x: number[][],
    labels: ArrayLike<number>,
  ) {
    this.#labels = Array.from(labels);
  }

  get layers(): number {
    return this.widths.length - 1;
  }

  /** λw·‖∇_w CE‖₁ + λy·Σ‖∇_y CE‖₁ at the kernels and biases `w`, layer after layer. */
  penalty(w: number[][], b: number[][], { lambdaWeights, lambdaActivations }: Strength): number {
    const batch = this.x.length;
    const kernels = w.map((kernel) => new Float64Array(kernel.length));
    let activations = 0;
    for (let n = 0; n < batch; n++) {
      const values = [this.x[n]];
      for (let l = 0; l < this.layers; l++) {
        const out = [...b[l]];
        const width = this.widths[l + 1];
        for (let i = 0; i < this.widths[l]; i++) {
          for (let o = 0; o < width; o++) out[o] += values[l][i] * w[l][i * width + o];
        }
        values.push(this.relu && l < this.layers - 1 ? out.map((v) => Math.max(v, 0)) : out);
      }
      const logits = values[this.layers];
      const largest = Math.max(...logits);
      const powers = logits.map((v) => Math.exp(v - largest));
      const total = powers.reduce((a, c) => a + c, 0);
      let dy = powers.map((p, c) => (p / total - (c === this.#labels[n] ? 1 : 0)) / batch);
      for (let l = this.layers - 1; l >= 0; l--) {
        const width = this.widths[l + 1];
        const dx = new Array<number>(this.widths[l]).fill(0);
        for (let i = 0; i < this.widths[l]; i++) {
          for (let o = 0; o < width; o++) {
            kernels[l][i * width + o] += values[l][i] * dy[o];
            dx[i] += w[l][i * width + o] * dy[o];
          }
        }
        if (l > 0) activations += dx.reduce((sum, d) => sum + Math.abs(d), 0);
        dy = this.relu ? dx.map((d, i) => (values[l][i] > 0 ? d : 0)) : dx;
      }
    }
    const norm = kernels.reduce((sum, kernel) => sum + kernel.reduce((s, g) => s + Math.abs(g), 0), 0);
    return lambdaWeights * norm + lambdaActivations * activations;
  }

  /** The gradient of {@link penalty} for all kernels and biases, flat, kernels first. */
  gradient(w: number[][], b: number[][], strength: Strength): number[] {
    const h = 1e-6;
    return [...w, ...b].flatMap((tensor) =>
      tensor.map((value, i) => {
        tensor[i] = value + h;
        const up = this.penalty(w, b, strength);
        tensor[i] = value - h;
        const down = this.penalty(w, b, strength);
        tensor[i] = value;
        return (up - down) / (2 * h);
      }),
    );
  }
}

const WIDTHS = [6, 9, 8, 4];
const BATCH = 60;

function cosine(a: number[], b: number[]): number {
  const dot = a.reduce((sum, v, i) => sum + v * b[i], 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b));
}

/** What the rule adds to the plain gradient, flat, kernels first; and the exact value of the same. */
function compare(activation: 'relu' | 'linear', seed: number, strength: Strength, radius?: number) {
  const graph = perceptron(WIDTHS, activation);
  const net = regularized(graph);
  const weights = randomWeights(graph, seed);
  const labels = Int32Array.from({ length: BATCH }, (_, i) => i % 4);
  const pixels = normals(seed + 1, BATCH * WIDTHS[0]);
  const x = tf.tensor(pixels, [BATCH, WIDTHS[0]]);
  const penalty = penaltyGradient(net, weights, { x, labels, seeds: [1] }, strength, radius);
  const rows = Array.from({ length: BATCH }, (_, n) => [...pixels.subarray(n * WIDTHS[0], (n + 1) * WIDTHS[0])]);
  const reference = new Reference(WIDTHS, activation === 'relu', rows, labels);
  const arrays = (field: string) => WIDTHS.slice(1).map((_, l) => [...(weights.get(`f${l}/${field}`)?.data ?? [])]);
  const exact = reference.gradient(arrays('kernel'), arrays('bias'), strength);
  return { penalty, exact };
}

function penaltyGradient(net: Regularized, weights: Weights, batch: Batch, strength: Strength, radius?: number) {
  const tensors = toTensors(weights);
  const names = ['kernel', 'bias'].flatMap((field) => WIDTHS.slice(1).map((_, l) => `f${l}/${field}`));
  const [whole, plain] = [strength, { lambdaWeights: 0, lambdaActivations: 0 }].map((s) => {
    const { gradients } = stepGradients(net, tensors, batch, s, radius);
    return names.flatMap((name) => Array.from(gradients[name].dataSync()));
  });
  return whole.map((v, i) => v - plain[i]);
}

const STRENGTHS: Record<string, Strength> = {
  weights: { lambdaWeights: 0.05, lambdaActivations: 0 },
  activations: { lambdaWeights: 0, lambdaActivations: 0.05 },
  both: { lambdaWeights: 0.02, lambdaActivations: 0.5 },
};

for (const [what, strength] of Object.entries(STRENGTHS)) {
  test(`the rule agrees with the exact gradient on a smooth net: ${what}`, () => {
    for (const seed of [1, 2, 3, 4]) {
      const { penalty, exact } = compare('linear', seed, strength);
      const agreement = cosine(penalty, exact);
      assert.ok(agreement >= 0.99, `seed ${seed}: cosine ${agreement}`);
      const scale = Math.hypot(...penalty) / Math.hypot(...exact);
      assert.ok(Math.abs(scale - 1) < 0.08, `seed ${seed}: length ${scale} of the exact one's`);
    }
  });

  // One unit that crosses its kink on one example weighs much in a net this small, and the exact gradient knows nothing
  // of kinks: so the median of several nets, and once more with steps that seldom cross one.
  for (const [radius, least] of [
    [1e-2, 0.8],
    [1e-3, 0.99],
  ]) {
    test(`the rule points along the exact gradient on ReLU nets: ${what}, radius ${radius}`, () => {
      const cosines = [2, 3, 4, 5, 6, 7, 8].map((seed) => {
        const { penalty, exact } = compare('relu', seed, strength, radius);
        return cosine(penalty, exact);
      });
      const median = cosines.sort((a, b) => a - b)[3];
      assert.ok(median >= least, `cosines ${cosines.map((c) => c.toFixed(3))}`);
    });
  }
}

test('the norms that a step reports are those of the gradients, and no tensor is left behind', () => {
  const graph = perceptron(WIDTHS, 'relu');
  const net = regularized(graph);
  assert.deepEqual(net.kernels, ['f0/kernel', 'f1/kernel', 'f2/kernel']);
  assert.equal(net.activations.length, 2);
  const weights = toTensors(randomWeights(graph, 3));
  const batch = { x: tf.tensor(normals(4, 24), [4, 6]), labels: Int32Array.of(0, 1, 2, 3), seeds: [1] };
  const plain = stepGradients(net, weights, batch, { lambdaWeights: 0, lambdaActivations: 0 });
  assert.equal(plain.normWeights, null);
  const kernels = net.kernels.flatMap((name) => Array.from(plain.gradients[name].dataSync()));
  const expected = kernels.reduce((sum, g) => sum + Math.abs(g), 0);
  const before = tf.memory().numTensors;
  const result = stepGradients(net, weights, batch, { lambdaWeights: 0.1, lambdaActivations: 0.1 });
  assert.ok(Math.abs((result.normWeights ?? 0) - expected) < 1e-4 * expected);
  assert.ok((result.normActivations ?? 0) > 0);
  assert.ok(Math.abs(result.loss - plain.loss) < 1e-6);
  tf.dispose([result.gradients, result.moving]);
  assert.equal(tf.memory().numTensors, before);
});
