import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentMap } from '../../src/model/recent-map.js';
import { Random } from '../support/random.js';

test('entries stand in the order of their use, whatever is set, touched and deleted', () => {
  const source = new Random(7);
  const random = () => source.next();
  const map = new RecentMap<number, number>();
  let order: number[] = [];
  for (let step = 0; step < 5000; step++) {
    const key = Math.floor(6 * random());
    const what = random();
    if (what < 0.2) {
      map.delete(key);
      order = order.filter((other) => other !== key);
    } else if (what < 0.4) {
      map.set(key, step);
      if (!order.includes(key)) order.push(key);
    } else {
      map.touch(key, step);
      order = [...order.filter((other) => other !== key), key];
    }
    assert.deepEqual([...map.keys()], order);
    if (map.has(key)) assert.equal(map.get(key), step);
  }
});
