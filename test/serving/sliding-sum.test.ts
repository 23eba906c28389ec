import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlidingSum } from '../../src/serving/sliding-sum.js';
import { Random } from '../support/random.js';

test('random events: never less than the window holds, and nothing that is a bucket older', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const windowMs = random.pick([100, 1000, 10_000]);
    const start = random.next() * 1e6;
    const sum = new SlidingSum(windowMs, start);
    const events: [at: number, amount: number][] = [];
    for (let now = start; events.length < 120; now += random.next() * random.pick([0.01, 0.1, 2]) * windowMs) {
      const amount = random.next();
      sum.add(amount, now);
      events.push([now, amount]);
      const within = (ms: number) => events.reduce((all, [at, x]) => (at > now - ms ? all + x : all), 0);
      const got = sum.sum(now);
      assert.ok(got >= within(windowMs) - 1e-9, `seed ${seed}: ${got} of at least ${within(windowMs)}`);
      assert.ok(got <= within(windowMs * 1.05 + 1e-6) + 1e-9, `seed ${seed}: ${got}`);
      const level = random.next() * got;
      const ms = sum.untilAtMost(level, now);
      const left = new SlidingSum(windowMs, start);
      for (const [at, x] of events) left.add(x, at);
      assert.ok(left.sum(now + ms + 1e-6) <= level + 1e-9, `seed ${seed}: ${ms} ms are not enough`);
    }
  }
});

test('nothing to wait for where the sum is low enough, and at most a window where nothing is', () => {
  const sum = new SlidingSum(1000, 0);
  assert.equal(sum.untilAtMost(0, 0), 0);
  sum.add(5, 100);
  assert.equal(sum.untilAtMost(5, 200), 0);
  const ms = sum.untilAtMost(4, 200);
  assert.ok(ms >= 900 && ms <= 1000, `${ms}`);
  assert.ok(sum.untilAtMost(-1, 200) >= 1000);
});
