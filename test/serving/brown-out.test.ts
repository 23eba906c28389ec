import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrownOut, STEPS } from '../../src/serving/brown-out.js';

const INTERVAL = 100;
const setUp = () => new BrownOut({ waitMs: 50, intervalMs: INTERVAL, calm: 3 }, 0);

/** Waits seen in each interval from the one that begins at `from`; gives the step after each. */
function play(brownOut: BrownOut, from: number, intervals: number[][]): number[] {
  return intervals.map((waits, i) => {
    const begin = from + i * INTERVAL;
    waits.forEach((ms, k) => {
      brownOut.waited(ms, begin + k + 1);
    });
    return brownOut.step(begin + INTERVAL);
  });
}

test('each interval in which all waited too long is a step, up to the last', () => {
  const brownOut = setUp();
  assert.deepEqual(play(brownOut, 0, Array(6).fill([60, 90])), [1, 2, 3, 4, STEPS, STEPS]);
});

test('a burst that drains does not count', () => {
  const brownOut = setUp();
  assert.deepEqual(play(brownOut, 0, Array(6).fill([300, 200, 100, 3])), [0, 0, 0, 0, 0, 0]);
});

test('between the two bounds the dial stays, and quiet intervals in a row bring it back a step at a time', () => {
  const brownOut = setUp();
  assert.deepEqual(play(brownOut, 0, [[60], [60]]), [1, 2]);
  assert.deepEqual(play(brownOut, 200, Array(10).fill([30])), Array(10).fill(2));
  assert.deepEqual(play(brownOut, 1200, [[1], [1], [30], [1], [1]]), [2, 2, 2, 2, 2], 'not in a row');
  assert.deepEqual(play(brownOut, 1700, [[1], [1], [1], [1], [1]]), [1, 1, 1, 0, 0]);
});

test('load that comes and goes at the bound does not make the dial go to and fro', () => {
  const brownOut = setUp();
  const waits = Array.from({ length: 200 }, (_, i) => [i % 2 === 0 ? 55 : 45]);
  const steps = play(brownOut, 0, waits);
  const turns = steps.filter((step, i) => i > 0 && step < steps[i - 1]).length;
  assert.equal(turns, 0);
  assert.equal(steps.at(-1), STEPS);
});

test('a queue that is too full, and requests that were turned away, are load', () => {
  const full = setUp();
  full.queued(0.8, 0, 10);
  assert.equal(full.step(100), 1);
  full.queued(0.5, 0, 110);
  for (let i = 0; i < 10; i++) {
    full.queued(0.5, 0, 110 + i * INTERVAL);
    assert.equal(full.step(110 + i * INTERVAL), 1, 'half full is neither');
  }
  const refused = setUp();
  refused.waited(1, 5);
  refused.refused(10);
  assert.equal(refused.step(100), 1);
});

test('where the engine takes nobody, who has waited too long tells', () => {
  const brownOut = setUp();
  brownOut.queued(0.1, 70, 50);
  assert.equal(brownOut.step(100), 1);
  brownOut.waited(1, 110);
  brownOut.queued(0.1, 70, 150);
  assert.equal(brownOut.step(200), 1, 'it took one at once');
});

test('silence is quiet', () => {
  const brownOut = setUp();
  play(brownOut, 0, Array(4).fill([60]));
  assert.equal(brownOut.step(400 + INTERVAL * 2), 4);
  assert.equal(brownOut.step(400 + INTERVAL * 4), 3);
  assert.equal(brownOut.step(400 + INTERVAL * 1000), 0);
  assert.deepEqual(play(brownOut, 400 + INTERVAL * 1000, [[60]]), [1]);
});
