import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Space } from '../../src/serving/space.js';
import { refused, settle } from './fixtures.js';

test('bytes are taken up to the bound and those who wait are served in order', async () => {
  const space = new Space(10, 60_000, () => false);
  await space.take(6);
  const order: string[] = [];
  const large = space.take(8).then(() => order.push('large'));
  const small = space.take(1).then(() => order.push('small'));
  await settle();
  assert.deepEqual(order, [], 'the small one fits but stands behind the large one');
  assert.equal(space.used, 6);
  space.free(6);
  space.retry();
  await Promise.all([large, small]);
  assert.deepEqual(order, ['large', 'small']);
  assert.equal(space.used, 9);
});

test('who waits too long is refused, takes nothing and lets the next one through', async () => {
  const space = new Space(10, 15, () => false);
  await space.take(6);
  const large = refused(space.take(8), 'overloaded');
  const small = space.take(4);
  const error = await large;
  assert.equal(error.extra.retry_after_s, 1);
  await small;
  assert.equal(space.used, 10);
});

test('room is asked for exactly what is missing', async () => {
  const asked: number[] = [];
  const space = new Space(10, 15, (bytes) => {
    asked.push(bytes);
    space.free(bytes);
    return true;
  });
  await space.take(7);
  await space.take(5);
  assert.deepEqual(asked, [2]);
  assert.equal(space.used, 10);
});
