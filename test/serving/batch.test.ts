import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countTogether, type Instances, mergeInputs, splitLogits } from '../../src/serving/batch.js';
import { Random } from '../support/random.js';

test('inputs are laid one after another, and that of one request is not copied', () => {
  const a = { input: Float32Array.of(1, 2), batch: 1 };
  const b = { input: Float32Array.of(3, 4, 5, 6), batch: 2 };
  assert.deepEqual(mergeInputs([a, b, a]), { input: Float32Array.of(1, 2, 3, 4, 5, 6, 1, 2), batch: 4 });
  assert.equal(mergeInputs([b]), b);
});

test('rows go back to whom they belong, and those of one request are not copied', () => {
  const logits = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  assert.deepEqual(splitLogits(logits, [1, 2, 1]), [
    Float32Array.of(1, 2),
    Float32Array.of(3, 4, 5, 6),
    Float32Array.of(7, 8),
  ]);
  assert.equal(splitLogits(logits, [4])[0], logits);
  assert.throws(() => splitLogits(logits, [1, 2]), /expected a multiple of 3 instances, got 8 numbers/);
});

test('as many go together as fit, in their order, the first in any case', () => {
  const waiting = (...batches: number[]) => batches.map((batch) => ({ batch, company: Infinity }));
  assert.equal(countTogether(waiting(1, 1, 1), 8), 3);
  assert.equal(countTogether(waiting(4, 3, 1, 1), 8), 3);
  assert.equal(countTogether(waiting(4, 5, 1), 8), 1, 'nobody overtakes');
  assert.equal(countTogether(waiting(9, 1), 8), 1);
  assert.equal(countTogether(waiting(1, 1), 1), 1);
});

test('a request is in no larger company than it bears, whoever came first', () => {
  assert.equal(countTogether([{ batch: 1, company: 2 }, ...Array(5).fill({ batch: 1, company: Infinity })], 8), 2);
  const last = [...Array(3).fill({ batch: 1, company: Infinity }), { batch: 1, company: 3 }];
  assert.equal(countTogether(last, 8), 3);
  assert.equal(countTogether([{ batch: 1, company: 0 }], 8), 1, 'alone it runs all the same');
});

test('random requests: each gets exactly what a run of its own would have given', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const [size, classes] = [random.integer(1, 9), random.integer(1, 7)];
    // Each row's logits tell the row's numbers, so a row that went astray shows.
    const run = ({ input, batch }: Instances) =>
      Float32Array.from({ length: batch * classes }, (_, i) => {
        const row = Math.floor(i / classes);
        return input.slice(row * size, (row + 1) * size).reduce((sum, x, k) => sum + x * (k + 1), i % classes);
      });
    const requests: (Instances & { company: number })[] = Array.from({ length: random.integer(1, 12) }, () => {
      const batch = random.integer(1, 5);
      const company = random.chance(0.2) ? random.integer(1, 10) : Infinity;
      return { input: random.normals(batch * size), batch, company };
    });
    const most = random.integer(1, 16);
    const waiting = [...requests];
    const rows: Float32Array[] = [];
    while (waiting.length > 0) {
      const taken = waiting.splice(0, countTogether(waiting, most));
      const merged = mergeInputs(taken);
      const bound = Math.min(most, ...taken.map(({ company }) => company));
      assert.ok(taken.length === 1 || merged.batch <= bound, `seed ${seed}: ${merged.batch} together of ${bound}`);
      rows.push(
        ...splitLogits(
          run(merged),
          taken.map(({ batch }) => batch),
        ),
      );
    }
    assert.deepEqual(rows, requests.map(run), `seed ${seed}`);
  }
});
