/** Strengths of the gradient l1 regulariser by ratio. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { Means } from '../../src/training/means.js';
import { createOptimizer } from '../../src/training/optimizer.js';
import { regularized, stepGradients } from '../../src/training/regularizer.js';
import { NO_REGULARIZER } from '../../src/training/request.js';
import { StepRule } from '../../src/training/step.js';
import { StrengthRule } from '../../src/training/strength.js';
import { toTensors } from '../../src/training/weights.js';
import { BACKEND, normals, perceptron, randomWeights } from './nets.js';

before(async () => {
  await loadBackend(BACKEND);
});

const RATIOS = { ...NO_REGULARIZER, kind: 'gradient-l1' as const, ratio_weights: 0.3, ratio_activations: 0.05 };

function someBatch(seed: number) {
  const labels = Int32Array.from(normals(seed + 100, 32), (v) => Math.min(3, Math.floor(Math.abs(v) * 2)));
  return { x: tf.tensor2d(normals(seed, 32 * 6), [32, 6]), labels, seeds: [seed] };
}

test('the strength is ratio · mean CE / mean norm over the steps so far, the newest hundred above all', () => {
  const rule = new StrengthRule(RATIOS);
  const measured = Array.from({ length: 130 }, (_, i) => ({
    loss: 2 + Math.sin(i),
    normWeights: 10 + (i % 7),
    normActivations: 1 + i / 50,
  }));
  // The weights that the steps have in the mean, written out: 1/t each up to 100, then each step fades all before by 0.99.
  const expected = (upTo: number, name: keyof (typeof measured)[0]) => {
    const weightOf = (i: number) =>
      Array.from({ length: upTo }, (_, t) => 1 / Math.min(t + 1, 100)).reduce(
        (weight, share, t) => (t < i ? weight : t === i ? share : weight * (1 - share)),
        0,
      );
    return measured.slice(0, upTo).reduce((sum, m, i) => sum + weightOf(i) * m[name], 0);
  };
  for (const [i, batch] of measured.entries()) {
    const { lambdaWeights, lambdaActivations } = rule.at(batch);
    if (![0, 1, 50, 99, 100, 129].includes(i)) continue;
    const loss = expected(i + 1, 'loss');
    const near = (actual: number, wanted: number) => assert.ok(Math.abs(actual / wanted - 1) < 1e-9, `${i}`);
    near(lambdaWeights, (0.3 * loss) / expected(i + 1, 'normWeights'));
    near(lambdaActivations, (0.05 * loss) / expected(i + 1, 'normActivations'));
  }
  const again = new StrengthRule(RATIOS);
  again.restore({ ...rule.state(), numbers: JSON.parse(JSON.stringify(rule.state().numbers)) });
  assert.deepEqual(again.at(measured[0]), rule.at(measured[0]), 'its state is all that it depends on');
});

test('given strengths stay, and vanishing or overflowing gradients give none that is not finite', () => {
  const given = new StrengthRule({ ...RATIOS, ratio_weights: 0, lambda_weights: 0.7 });
  const { lambdaWeights, lambdaActivations } = given.at({ loss: 1, normWeights: 5, normActivations: 0 });
  assert.deepEqual([lambdaWeights, lambdaActivations], [0.7, 0]);
  given.at({ loss: 1, normWeights: Number.POSITIVE_INFINITY, normActivations: Number.NaN });
  assert.ok(Object.values(given.state().numbers).every(Number.isFinite));
  assert.ok(given.at({ loss: 1, normWeights: 5, normActivations: 1 }).lambdaActivations > 0);
  assert.equal(new StrengthRule(NO_REGULARIZER).isOff, true);
  assert.equal(given.isOff, false);
});

test('a step by ratio is the step with the strength that the ratio gives for its batch', () => {
  const graph = perceptron([6, 16, 4], 'relu');
  const weights = toTensors(randomWeights(graph, 3));
  const batch = someBatch(1);
  const step = new StepRule(graph, RATIOS).gradients(weights, batch, 0, [1], true);
  const { loss, normWeights, normActivations, strength } = step;
  assert.ok(strength && normWeights && normActivations);
  assert.ok(Math.abs((strength.lambdaWeights * normWeights) / loss - 0.3) < 1e-6);
  assert.ok(Math.abs((strength.lambdaActivations * normActivations) / loss - 0.05) < 1e-6);
  const fixed = stepGradients(regularized(graph), weights, batch, strength);
  for (const [name, gradient] of Object.entries(fixed.gradients)) {
    assert.deepEqual(step.gradients[name].dataSync(), gradient.dataSync(), name);
  }
});

test('over a training the measured ratio is the one asked for, and the history says so', () => {
  const graph = perceptron([6, 24, 4], 'relu');
  const weights = toTensors(randomWeights(graph, 5));
  const rule = new StepRule(graph, RATIOS);
  const optimizer = createOptimizer({ kind: 'adam', momentum: 0, weight_decay: 0 }, []);
  let means = new Means();
  for (let step = 0; step < 240; step++) {
    if (step === 120) means = new Means();
    const taken = rule.gradients(weights, someBatch(step % 8), step, [step], true);
    optimizer.apply(weights, taken.gradients, 1e-3);
    means.add(taken);
  }
  const values = means.values();
  assert.ok(Math.abs(values.ratio_weights / 0.3 - 1) < 0.2, `${values.ratio_weights}`);
  assert.ok(Math.abs(values.ratio_activations / 0.05 - 1) < 0.2, `${values.ratio_activations}`);
  assert.ok(Math.abs((values.lambda_weights * values.norm_weights) / values.loss / values.ratio_weights - 1) < 0.1);
});
