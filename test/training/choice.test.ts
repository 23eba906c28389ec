import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseDefault, DEFAULT_CANDIDATES } from '../../src/training/choice.js';
import { learningRate } from '../../src/training/schedule.js';

/** Accuracies at 32, 8, 7 … 2 bits. */
function table(...accuracies: number[]) {
  return Object.fromEntries([32, 8, 7, 6, 5, 4, 3, 2].map((b, i) => [`${b}x${b}`, { accuracy: accuracies[i] }]));
}

test('the default is the narrowest square width within half a point of float', () => {
  assert.equal(chooseDefault(table(0.99, 0.99, 0.99, 0.99, 0.989, 0.986, 0.97, 0.5)), '4x4');
  assert.equal(chooseDefault(table(0.99, 0.991, 0.992, 0.99, 0.99, 0.985, 0.985, 0.985)), '2x2');
  assert.equal(chooseDefault(table(0.99, 0.98, 0.98, 0.98, 0.98, 0.98, 0.98, 0.98)), '32x32');
  // A width that is good by luck under one that is not is no choice.
  assert.equal(chooseDefault(table(0.99, 0.99, 0.99, 0.97, 0.99, 0.97, 0.97, 0.97)), '7x7');
  assert.equal(DEFAULT_CANDIDATES.length, 8);
});

test('the learning rate rises to its peak, then falls to nearly nothing', () => {
  const rates = Array.from({ length: 1000 }, (_, step) => learningRate(0.1, step, 1000));
  const peak = rates.indexOf(Math.max(...rates));
  assert.equal(peak, 30);
  assert.equal(rates[peak], 0.1);
  assert.ok(rates[0] > 0 && rates[999] > 0 && rates[999] < 1e-5);
  for (let i = 1; i < 1000; i++) assert.ok(i <= peak ? rates[i] > rates[i - 1] : rates[i] < rates[i - 1]);
  assert.equal(learningRate(0.1, 0, 1), 0.1);
});
