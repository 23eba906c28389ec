import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { Admission } from '../../src/serving/admission.js';

function setUp(max: number, status?: '503' | '429') {
  let now = 1000;
  const admission = new Admission({ max, status, now: () => now });
  const refusal = (act: () => unknown) => {
    try {
      act();
    } catch (error) {
      assert.ok(error instanceof ServiceError);
      return error;
    }
    assert.fail('expected a refusal');
  };
  return { admission, refusal, pass: (ms: number) => (now += ms) };
}

test('instances are bounded, not requests, and places come back once', () => {
  const { admission, refusal } = setUp(10);
  const [a, b] = [admission.enter(), admission.enter()];
  a.grow(8);
  assert.equal(admission.taken, 9);
  assert.equal(refusal(() => b.grow(3)).code, 'overloaded');
  assert.equal(admission.taken, 9, 'one that could not grow keeps its one place until it leaves');
  b.grow(2);
  assert.equal(refusal(() => admission.check()).code, 'overloaded');
  assert.equal(refusal(() => admission.enter()).code, 'overloaded');
  a.leave(true);
  a.leave(true);
  assert.equal(admission.taken, 2);
  admission.check();
  b.leave(false);
  assert.equal(admission.taken, 0);
});

test('a request that finds nobody is taken whatever its size, and bounds the next', () => {
  const { admission, refusal } = setUp(4);
  const large = admission.enter();
  large.grow(64);
  assert.equal(refusal(() => admission.enter()).code, 'overloaded');
  large.leave(true);
  admission.enter().grow(4);
});

test('the status is a setting', () => {
  const { admission, refusal } = setUp(1, '429');
  admission.enter();
  const error = refusal(() => admission.enter());
  assert.deepEqual([error.code, error.status], ['too_many_requests', 429]);
  assert.equal(error.extra.retry_after_s, 1);
});

test('when to come back is what is there over the rate at which it drains, at least a second, at most a minute', () => {
  const { admission, pass } = setUp(1000);
  assert.equal(admission.retryAfterS(), 1, 'nothing is known yet');
  const places = Array.from({ length: 100 }, () => admission.enter());
  // Ten a second for four seconds, then 60 are left: 6 s.
  for (let i = 0; i < 40; i++) {
    pass(100);
    places[i].leave(true);
  }
  assert.ok(Math.abs(admission.retryAfterS() - 6) <= 1, `${admission.retryAfterS()}`);
  for (const place of places.slice(40, 99)) place.leave(false);
  assert.equal(admission.retryAfterS(), 1);
  const more = Array.from({ length: 999 }, () => admission.enter());
  assert.equal(admission.retryAfterS(), 60);
  for (const place of more) place.leave(false);
});

test('time in which nobody was there does not make the queue look slow', () => {
  const { admission, pass } = setUp(1000);
  pass(60_000);
  // A burst after a minute of nothing: 50 of 300 in a quarter of a second.
  const places = Array.from({ length: 300 }, () => admission.enter());
  for (const place of places.slice(0, 50)) {
    pass(5);
    place.leave(true);
  }
  assert.equal(admission.retryAfterS(), 2, '250 at 200 a second');
  pass(1000);
  assert.equal(admission.retryAfterS(), 7, 'and a second of standing still counts');
  for (const place of places) place.leave(false);
  pass(2000);
  const later = Array.from({ length: 100 }, () => admission.enter());
  assert.equal(admission.retryAfterS(), 3, '100 at 50 in 1.25 s');
  for (const place of later) place.leave(false);
});

test('idle is when the last one has left', async () => {
  const { admission } = setUp(10);
  await admission.idle();
  const [a, b] = [admission.enter(), admission.enter()];
  let idle = false;
  const waiting = admission.idle().then(() => (idle = true));
  a.leave(true);
  await Promise.resolve();
  assert.equal(idle, false);
  b.leave(false);
  await waiting;
});
