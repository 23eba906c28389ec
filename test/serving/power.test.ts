import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceError } from '../../src/errors.js';
import { PowerBudget } from '../../src/serving/power.js';
import { Random } from '../support/random.js';

/** Time by hand; 1 mW is 1 µJ a millisecond. */
function setUp(milliwatts: number, windowMs = 1000) {
  let now = 0;
  const power = new PowerBudget({ milliwatts, windowMs, now: () => now });
  return { power, pass: (ms: number) => (now += ms), at: () => now };
}

function refusal(act: () => unknown): ServiceError {
  try {
    act();
  } catch (error) {
    return error as ServiceError;
  }
  assert.fail('expected a refusal');
}

test('the average is of what has run, over the window', () => {
  const { power, pass } = setUp(10);
  const kept = power.reserve(400, false);
  assert.equal(power.average(), 0);
  kept.spend();
  kept.spend();
  kept.cancel();
  assert.equal(power.average(), 0.4);
  pass(2000);
  assert.equal(power.average(), 0);
});

test('what is set aside counts until it has run or is cancelled, and more than the budget is refused', () => {
  const { power, pass } = setUp(10);
  const first = power.reserve(6000, false);
  const second = power.reserve(4000, true);
  const error = refusal(() => power.reserve(1, true));
  assert.equal(error.code, 'power_budget');
  assert.equal(error.status, 503);
  assert.ok((error.extra.retry_after_s as number) >= 1);
  second.cancel();
  power.reserve(4000, false).spend();
  first.spend();
  assert.equal(power.average(), 10);
  assert.ok(!power.fits(1));
  pass(1100);
  assert.ok(power.fits(10_000));
});

test('when to come back is when enough of the window is over', () => {
  const { power, pass } = setUp(10, 10_000);
  power.reserve(50_000, false).spend();
  pass(6000);
  power.reserve(50_000, false).spend();
  const seconds = refusal(() => power.reserve(20_000, false)).extra.retry_after_s as number;
  assert.ok(seconds >= 4 && seconds <= 5, `${seconds}`);
  pass(seconds * 1000);
  power.reserve(20_000, false);
});

test('what would not fit an empty window is not told to come back', () => {
  const { power } = setUp(10);
  const never = refusal(() => power.reserve(20_000, true));
  assert.equal(never.code, 'power_budget');
  assert.equal(never.extra.retry_after_s, undefined);
  assert.match(never.message, /needs 20000 µJ, and 10000 µJ in 1 s are all that 10 mW allow/);
  power.reserve(1, true);
  assert.equal(refusal(() => power.reserve(10_000, true)).extra.retry_after_s, 2);
});

test('the allowance shares the budget among those who come, less what those who named bits take', () => {
  const { power, pass } = setUp(100);
  assert.equal(power.allowanceUj(), Infinity, 'nobody has come yet');
  // One instance a millisecond for long enough: 95 µJ each.
  for (let i = 0; i < 4000; i++) {
    power.arrived(1);
    pass(1);
  }
  assert.ok(Math.abs(power.allowanceUj() - 95) < 6, `${power.allowanceUj()}`);
  for (let i = 0; i < 1000; i++) {
    power.arrived(1);
    power.reserve(40, true).spend();
    pass(1);
  }
  assert.ok(Math.abs(power.allowanceUj() - 55) < 8, `${power.allowanceUj()}`);
});

test('the allowance falls at once with a rush and rises slowly after it', () => {
  const { power, pass } = setUp(100, 10_000);
  const come = (perMs: number, ms: number) => {
    for (let i = 0; i < ms; i++) {
      power.arrived(perMs);
      pass(1);
    }
    return power.allowanceUj();
  };
  const calm = come(1, 10_000);
  const rush = come(10, 2000);
  assert.ok(rush < calm / 8, `${calm} µJ, then ${rush}`);
  const soon = come(1, 2500);
  assert.ok(soon < calm / 4, `${soon} µJ soon after the rush`);
  assert.ok(come(1, 40_000) > calm * 0.9);
});

test('random traffic: no window of time takes more than the budget', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const windowMs = random.pick([500, 1000, 5000]);
    const { power, pass, at } = setUp(20, windowMs);
    const spent: [at: number, uj: number][] = [];
    const running: { uj: number; end(): void }[] = [];
    let refusals = 0;
    for (let i = 0; i < 600; i++) {
      pass(random.next() * 20);
      const uj = random.next() * 2000;
      if (random.chance(0.7)) {
        try {
          const kept = power.reserve(uj, random.chance(0.3));
          const end = () => {
            if (random.chance(0.1)) return void kept.cancel();
            kept.spend();
            spent.push([at(), uj]);
          };
          running.push({ uj, end });
        } catch (error) {
          assert.equal((error as ServiceError).code, 'power_budget');
          refusals++;
        }
      }
      if (random.chance(0.6)) running.splice(random.integer(0, 3), 1)[0]?.end();
      const window = spent.reduce((sum, [t, uj]) => (t > at() - windowMs ? sum + uj : sum), 0);
      assert.ok(window <= 20 * windowMs + 1e-6, `seed ${seed}: ${window / windowMs} mW`);
    }
    assert.ok(refusals > 0 && spent.length > 20, `seed ${seed}: ${refusals} refusals, ${spent.length} runs`);
  }
});
