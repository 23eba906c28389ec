import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Width } from '../../src/quantize/precision.js';
import type { PrecisionCost } from '../../src/serving/budget.js';
import { ladder, rungAt } from '../../src/serving/ladder.js';
import { Random } from '../support/random.js';

function row(bits: number, accuracy: number | null, latencyMs: number | null, energyUj = bits): PrecisionCost {
  const width = bits as Width;
  return {
    precision: { weightBits: width, activationBits: width },
    accuracy,
    energyUj,
    memoryBytes: bits * 1000,
    latencyMs,
  };
}
const bits = (rows: PrecisionCost[]) => rows.map(({ precision }) => precision.weightBits);
const time = ({ latencyMs }: PrecisionCost) => latencyMs;

const BASE = row(8, 0.9, 10);
const TABLE = [row(32, 0.91, 40), BASE, row(6, 0.899, 9.9), row(5, 0.895, 6), row(4, 0.89, 6.1), row(3, 0.885, 4)];

test('rungs are really cheaper, each than the one before, and best first', () => {
  assert.deepEqual(bits(ladder(BASE, TABLE, time, { maxDrop: 0.02 })), [5, 3]);
  assert.deepEqual(bits(ladder(BASE, TABLE, ({ energyUj }) => energyUj, { maxDrop: 0.02 })), [6, 5, 4, 3]);
});

test('none below the floor, none that the budget excludes, none whose accuracy or cost is not known', () => {
  assert.deepEqual(bits(ladder(BASE, TABLE, time, { maxDrop: 0.01 })), [5]);
  assert.deepEqual(bits(ladder(BASE, TABLE, time, { maxDrop: 0.02, budget: { minAccuracy: 0.89 } })), [5]);
  assert.deepEqual(bits(ladder(BASE, TABLE, time, { maxDrop: 0.02, budget: { maxMemoryKib: 3 } })), [3]);
  assert.deepEqual(bits(ladder(BASE, [row(4, null, 1), row(3, 0.9, null)], time, { maxDrop: 0.02 })), []);
  assert.deepEqual(ladder(row(8, null, 10), TABLE, time, { maxDrop: 1 }), []);
  assert.deepEqual(ladder(row(8, 0.9, null), TABLE, time, { maxDrop: 1 }), []);
});

test('fewer bits that are no faster are no rung', () => {
  const same = [BASE, row(4, 0.9, 10), row(2, 0.89, 9.8)];
  assert.deepEqual(ladder(BASE, same, time, { maxDrop: 0.5 }), []);
});

test('steps go along the rungs; the last one is the cheapest', () => {
  const at = (rungs: number[]) => [0, 1, 2, 3, 4].map((step) => rungAt(rungs, step, 4));
  assert.deepEqual(at([]), Array(5).fill(undefined));
  assert.deepEqual(at([1]), [undefined, 1, 1, 1, 1]);
  assert.deepEqual(at([1, 2]), [undefined, 1, 1, 2, 2]);
  assert.deepEqual(at([1, 2, 3, 4, 5, 6, 7, 8]), [undefined, 2, 4, 6, 8]);
});

test('random tables: no row that is allowed is both better and cheaper than a rung', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const table = Array.from({ length: random.integer(1, 12) }, (_, i) =>
      row(i + 2, random.integer(80, 99) / 100, random.integer(1, 30), random.integer(1, 30)),
    );
    const base = random.pick(table);
    const maxDrop = random.next() * 0.1;
    const rungs = ladder(base, table, time, { maxDrop });
    let before = base;
    for (const rung of rungs) {
      const [t, accuracy] = [rung.latencyMs as number, rung.accuracy as number];
      assert.ok(t <= (before.latencyMs as number) * 0.95, `seed ${seed}`);
      assert.ok(accuracy >= (base.accuracy as number) - maxDrop, `seed ${seed}`);
      const better = table.find((r) => (r.accuracy as number) > accuracy && (r.latencyMs as number) <= t);
      assert.equal(better, undefined, `seed ${seed}`);
      before = rung;
    }
    const least = Math.min(
      ...table
        .filter((r) => (r.accuracy as number) >= (base.accuracy as number) - maxDrop)
        .map((r) => r.latencyMs ?? 0),
    );
    const reached = (rungs.at(-1) ?? base).latencyMs as number;
    assert.ok(least > reached * 0.95 || least === reached, `seed ${seed}: ${reached}, though ${least} is allowed`);
  }
});
