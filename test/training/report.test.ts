/** The time to go, by a clock that the test holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MovingRate } from '../../src/training/moving-rate.js';
import { ProgressReport } from '../../src/training/report.js';
import type { TrainingProgress } from '../../src/training/request.js';

const EPOCHS = 10;
const PER_EPOCH = 100;
const STEPS = EPOCHS * PER_EPOCH;
/** What comes after the steps takes 15 of 85 parts of their time. */
const AFTER = STEPS * (15 / 85);

function reported() {
  let now = 5000;
  const told: TrainingProgress[] = [];
  const report = new ProgressReport({ onProgress: (progress) => void told.push(progress) }, EPOCHS, () => now);
  const numbers = { loss: 1, normWeights: 20, normActivations: null, accuracy: 0.5 };
  const step = (step: number, seconds: number) => {
    now += seconds * 1000;
    report.step({ epoch: Math.floor((step - 1) / PER_EPOCH), step, steps: STEPS, ...numbers });
    return report.last.eta_s;
  };
  const pass = (seconds: number) => {
    now += seconds * 1000;
  };
  return { report, told, step, pass };
}

const near = (actual: number | null | undefined, expected: number, share = 0.01) =>
  assert.ok(actual != null && Math.abs(actual - expected) <= share * expected, `${actual}, expected ${expected}`);

test('the time to go comes from the steps of about the last epoch', () => {
  const { step, report } = reported();
  assert.equal(step(1, 300), null, 'the first step says nothing: it holds the start-up');
  for (let i = 2; i <= 150; i++) step(i, 2);
  near(report.last.eta_s, 2 * (STEPS - 150 + AFTER));
  // Another job ends, and steps take a quarter: after an epoch nothing else counts.
  for (let i = 151; i <= 260; i++) step(i, 0.5);
  near(report.last.eta_s, 0.5 * (STEPS - 260 + AFTER));
});

test('a training that goes on from a checkpoint has its own speed from its first steps on', () => {
  const { step, told } = reported();
  assert.equal(step(600, 0), null);
  near(step(601, 3), 3 * (STEPS - 601 + AFTER));
  for (let i = 602; i <= 620; i++) step(i, 3);
  near(told.at(-1)?.eta_s, 3 * (STEPS - 620 + AFTER));
  assert.equal(told[0].progress, 0.85 * 0.6);
  assert.deepEqual([told[0].norm_weights, told[0].norm_activations, told[0].accuracy], [20, null, 0.5]);
});

test('the pause between two epochs is in it', () => {
  const { step, report } = reported();
  for (let i = 1; i <= 350; i++) {
    step(i, 1);
    if (i % PER_EPOCH === 0) step(i, 50);
  }
  near(report.last.eta_s, 1.5 * (STEPS - 350 + AFTER), 0.03);
});

test('the evaluation has a speed of its own', () => {
  const { report, pass, step } = reported();
  for (let i = STEPS - 50; i <= STEPS; i++) step(i, 1);
  report.phase('calibrating');
  near(report.last.eta_s, AFTER);
  report.evaluated(0.1);
  pass(4);
  report.evaluated(0.3);
  near(report.last.eta_s, 14);
  pass(14);
  report.evaluated(1);
  assert.deepEqual([report.last.eta_s, report.last.progress], [0, 1]);
});

test('a rate keeps few marks however long it runs, and is null until something moved', () => {
  const rate = new MovingRate(1000);
  assert.equal(rate.at(7, 0), null);
  assert.equal(rate.at(7, 50), null);
  assert.equal(rate.at(8, 0), null);
  let last: number | null = null;
  for (let i = 1; i <= 100_000; i++) last = rate.at(8 + i, i * 4);
  near(last, 250);
});
