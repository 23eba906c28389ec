import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Patience } from '../../src/serving/patience.js';
import { Gate, refused } from './fixtures.js';

const from = (options: Parameters<typeof Patience.of>[0]) => Patience.of(options) as Patience;

test('without a deadline or a signal there is nothing to watch', () => {
  assert.equal(Patience.of({}), null);
});

test('the deadline ends it, once, and tells whoever listens', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const patience = from({ deadlineMs: 100 });
  const told: string[] = [];
  patience.onEnd(({ code }) => told.push(code));
  patience.onEnd(() => told.push('removed'))();
  t.mock.timers.tick(99);
  patience.check();
  t.mock.timers.tick(1);
  assert.throws(() => patience.check(), { code: 'deadline_exceeded', status: 504 });
  patience.onEnd(({ code }) => told.push(`late ${code}`));
  assert.deepEqual(told, ['deadline_exceeded', 'late deadline_exceeded']);
});

test('the signal ends it, also where it was aborted before', () => {
  const controller = new AbortController();
  const patience = from({ signal: controller.signal });
  patience.check();
  controller.abort();
  assert.throws(() => patience.check(), { code: 'client_closed_request' });
  assert.equal(from({ signal: controller.signal }).ended?.code, 'client_closed_request');
});

test('closed, it tells nobody and listens to nothing', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const controller = new AbortController();
  const patience = from({ deadlineMs: 10, signal: controller.signal });
  const told: string[] = [];
  patience.onEnd(({ code }) => told.push(code));
  patience.close();
  t.mock.timers.tick(1000);
  assert.equal(patience.ended, null);
  controller.abort();
  assert.deepEqual(told, []);
});

test('work is waited for as long as patience lasts', async () => {
  const controller = new AbortController();
  const patience = from({ signal: controller.signal });
  assert.equal(await patience.guard(Promise.resolve(7)), 7);
  await assert.rejects(patience.guard(Promise.reject(new Error('boom'))), /boom/);
  const never = patience.guard(new Promise(() => {}));
  controller.abort();
  await refused(never, 'client_closed_request');
  await refused(patience.guard(Promise.resolve(7)), 'client_closed_request');
});

test('what is claimed and comes too late is released', async () => {
  const controller = new AbortController();
  const patience = from({ signal: controller.signal });
  let released = 0;
  const held = { release: () => void released++ };
  assert.equal(await patience.claim(Promise.resolve(held)), held);
  const gate = new Gate();
  const late = patience.claim(gate.passed.then(() => held));
  controller.abort();
  await refused(late, 'client_closed_request');
  assert.equal(released, 0);
  gate.open();
  await new Promise(setImmediate);
  assert.equal(released, 1);
});

test('deadlines that are no time are refused by name', () => {
  for (const deadlineMs of [0, -1, Number.NaN, '5' as unknown as number]) {
    assert.throws(() => Patience.of({ deadlineMs }), { code: 'invalid_field' });
  }
  const endless = from({ deadlineMs: 1e300 });
  endless.close();
});
