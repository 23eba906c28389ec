import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { precisionKey, STANDARD_PRECISIONS, type Width } from '../../src/quantize/precision.js';
import { checkBudget, choosePrecision, type PrecisionCost } from '../../src/serving/budget.js';
import type { Budget } from '../../src/serving/request.js';
import { Random } from '../support/random.js';

const row = (bits: Width, accuracy: number, energyUj: number, kib: number, latencyMs: number | null) =>
  ({
    precision: { weightBits: bits, activationBits: bits },
    accuracy,
    energyUj,
    memoryBytes: kib * 1024,
    latencyMs,
  }) satisfies PrecisionCost;

const TABLE = [
  row(32, 0.99, 40, 160, 9),
  row(8, 0.989, 8, 40, 3),
  row(4, 0.985, 3, 20, 3.5),
  row(3, 0.97, 2, 15, 4),
  row(2, 0.9, 1, 10, 4.5),
];

const chosen = (budget: Budget, rows: PrecisionCost[] = TABLE) => choosePrecision(rows, budget).precision.weightBits;

function infeasible(budget: Budget, rows: PrecisionCost[] = TABLE): ServiceError {
  try {
    choosePrecision(rows, budget);
  } catch (error) {
    assert.ok(error instanceof ServiceError);
    assert.equal(error.code, 'budget_infeasible');
    return error;
  }
  assert.fail('the budget was met');
}

test('the most accurate precision within the budget, the bound included', () => {
  const cases: [Budget, Width][] = [
    [{ maxEnergyUj: 100 }, 32],
    [{ maxEnergyUj: 8 }, 8],
    [{ maxEnergyUj: 7.999 }, 4],
    [{ maxMemoryKib: 15 }, 3],
    [{ maxMemoryKib: 39.9 }, 4],
    [{ maxLatencyMs: 3.7 }, 8],
    [{ minAccuracy: 0.985 }, 32],
    [{ minAccuracy: 0.985, maxEnergyUj: 5 }, 4],
    [{ maxEnergyUj: 5, maxMemoryKib: 18, maxLatencyMs: 100 }, 3],
    [{ maxEnergyUj: 1, maxMemoryKib: 10, maxLatencyMs: 4.5, minAccuracy: 0.9 }, 2],
  ];
  for (const [budget, bits] of cases) assert.equal(chosen(budget), bits, JSON.stringify(budget));
});

test('ties go to the least energy, then the least memory, then the first of the table', () => {
  assert.equal(chosen({ maxEnergyUj: 9 }, [row(8, 0.9, 8, 1, 1), row(4, 0.9, 3, 9, 1)]), 4);
  assert.equal(chosen({ maxEnergyUj: 9 }, [row(8, 0.9, 3, 9, 1), row(4, 0.9, 3, 5, 1)]), 4);
  assert.equal(chosen({ maxEnergyUj: 9 }, [row(8, 0.9, 3, 5, 1), row(4, 0.9, 3, 5, 1)]), 8);
});

test('an unknown latency meets no latency budget, but any other', () => {
  const rows = [row(8, 0.99, 8, 40, null), row(4, 0.98, 3, 20, 5)];
  assert.equal(chosen({ maxLatencyMs: 1000 }, rows), 4);
  assert.equal(chosen({ maxEnergyUj: 1000 }, rows), 8);
  const none = infeasible({ maxLatencyMs: 1000 }, [row(8, 0.99, 8, 40, null)]);
  assert.deepEqual(none.extra.budgets, {
    max_latency_ms: { given: 1000, best_possible: null, at_cheapest: null, shortfall: null },
  });
  assert.match(none.message, /not measured/);
});

test('without a table there is nothing to choose from', () => {
  assert.throws(
    () => choosePrecision([], { maxEnergyUj: 1 }),
    (error: ServiceError) => error.code === 'no_precision_table',
  );
});

test('what cannot be met comes with the cheapest precision and the shortfall', () => {
  const error = infeasible({ maxEnergyUj: 0.25, maxLatencyMs: 4 });
  assert.deepEqual(error.extra, {
    cheapest: { bits: 2, activation_bits: 2, energy_uj: 1, memory_kib: 10, latency_ms: 4.5, expected_accuracy: 0.9 },
    budgets: {
      max_energy_uj: { given: 0.25, best_possible: 1, at_cheapest: 1, shortfall: 0.75 },
      max_latency_ms: { given: 4, best_possible: 3, at_cheapest: 4.5, shortfall: 0.5 },
    },
  });
  assert.match(error.message, /2 × 2 bits, max_energy_uj 0.25 would have to be at least 1, max_latency_ms 4/);
});

test('with a least accuracy, the cheapest is that of the precisions that reach it', () => {
  const error = infeasible({ minAccuracy: 0.98, maxEnergyUj: 1 });
  assert.deepEqual((error.extra.cheapest as { bits: number }).bits, 4);
  assert.deepEqual(error.extra.budgets, {
    max_energy_uj: { given: 1, best_possible: 1, at_cheapest: 3, shortfall: 2 },
    min_accuracy: { given: 0.98, best_possible: 0.99, at_cheapest: 0.985, shortfall: 0 },
  });
  const none = infeasible({ minAccuracy: 0.999 });
  assert.deepEqual((none.extra.cheapest as { bits: number }).bits, 2, 'none reaches it: the cheapest of all');
  assert.match(none.message, /min_accuracy 0.999 would have to be at most 0.9/);
});

test('budgets that are not numbers in range are refused by name', () => {
  const wrong: [keyof Budget, string, unknown[]][] = [
    ['maxEnergyUj', 'max_energy_uj', [-1, Number.NaN, Infinity, '2', null]],
    ['maxMemoryKib', 'max_memory_kib', [-0.5]],
    ['maxLatencyMs', 'max_latency_ms', [Number.NaN]],
    ['minAccuracy', 'min_accuracy', [1.01, -0.1, 99]],
  ];
  for (const [key, field, values] of wrong) {
    for (const value of values) {
      assert.throws(
        () => checkBudget({ [key]: value } as Budget),
        (error: ServiceError) => error.code === 'invalid_field' && error.extra.field === field,
        `${key} ${value}`,
      );
    }
  }
  assert.equal(checkBudget(undefined), undefined);
  assert.equal(checkBudget({}), undefined, 'an empty budget is none');
  assert.equal(checkBudget({ maxEnergyUj: undefined }), undefined);
  assert.ok(checkBudget({ maxEnergyUj: 0 }), 'zero is a budget');
});

test('without measured accuracies more bits are better, and a least accuracy is refused with the reason', () => {
  const unknown = TABLE.map((known) => ({ ...known, accuracy: null }));
  assert.equal(chosen({ maxEnergyUj: 100 }, unknown), 32);
  assert.equal(chosen({ maxEnergyUj: 7.999 }, unknown), 4);
  assert.equal(chosen({ maxMemoryKib: 15 }, unknown), 3);
  const refused = { code: 'accuracy_unknown', message: /min_accuracy.*imported without test images/ };
  assert.throws(() => choosePrecision(unknown, { minAccuracy: 0 }), refused);
  assert.throws(() => choosePrecision(unknown, { minAccuracy: 0.5, maxEnergyUj: 1 }), refused);
  assert.equal(infeasible({ maxEnergyUj: 0.5 }, unknown).extra.cheapest !== undefined, true);
  const mixed = [...unknown.slice(0, 1), TABLE[4]];
  assert.equal(chosen({ maxEnergyUj: 100 }, mixed), 2, 'what was measured goes before what was not');
  assert.equal(chosen({ minAccuracy: 0.5 }, mixed), 2);
});

test('random tables: the choice is that of a brute-force search, and a refusal says what would be enough', () => {
  const random = new Random(7);
  const few = (values: number) => random.integer(0, values) / values; // so that ties are common
  let [met, refusals] = [0, 0];
  for (let round = 0; round < 3000; round++) {
    const rows: (PrecisionCost & { accuracy: number })[] = STANDARD_PRECISIONS.slice(0, random.integer(1, 14)).map(
      (precision) => ({
        precision,
        accuracy: few(4),
        energyUj: few(5),
        memoryBytes: few(5) * 10240,
        latencyMs: random.chance(0.1) ? null : few(6),
      }),
    );
    const budget: Budget = {};
    if (random.chance(0.5)) budget.maxEnergyUj = few(9);
    if (random.chance(0.5)) budget.maxMemoryKib = few(9) * 10;
    if (random.chance(0.4)) budget.maxLatencyMs = few(9);
    if (random.chance(0.4)) budget.minAccuracy = few(9);

    const feasible = rows.filter((r) => {
      if (budget.maxEnergyUj !== undefined && r.energyUj > budget.maxEnergyUj) return false;
      if (budget.maxMemoryKib !== undefined && r.memoryBytes > budget.maxMemoryKib * 1024) return false;
      if (budget.maxLatencyMs !== undefined && (r.latencyMs ?? Infinity) > budget.maxLatencyMs) return false;
      return budget.minAccuracy === undefined || r.accuracy >= budget.minAccuracy;
    });
    if (feasible.length > 0) {
      let best = feasible;
      best = best.filter((r) => r.accuracy === Math.max(...best.map((b) => b.accuracy)));
      best = best.filter((r) => r.energyUj === Math.min(...best.map((b) => b.energyUj)));
      best = best.filter((r) => r.memoryBytes === Math.min(...best.map((b) => b.memoryBytes)));
      assert.equal(precisionKey(choosePrecision(rows, budget).precision), precisionKey(best[0].precision));
      met++;
      continue;
    }
    refusals++;
    const { budgets } = infeasible(budget, rows).extra as {
      budgets: Record<string, { best_possible: number | null; at_cheapest: number | null }>;
    };
    const needed = (name: string) => budgets[name]?.at_cheapest ?? undefined;
    if (rows.every((r) => r.latencyMs === null) && budget.maxLatencyMs !== undefined) continue;
    choosePrecision(rows, {
      maxEnergyUj: needed('max_energy_uj'),
      maxMemoryKib: needed('max_memory_kib'),
      maxLatencyMs: needed('max_latency_ms'),
      minAccuracy: needed('min_accuracy'),
    });
    for (const [name, key] of [
      ['max_energy_uj', 'maxEnergyUj'],
      ['max_memory_kib', 'maxMemoryKib'],
      ['max_latency_ms', 'maxLatencyMs'],
      ['min_accuracy', 'minAccuracy'],
    ] as const) {
      const best = budgets[name]?.best_possible;
      if (best != null) choosePrecision(rows, { [key]: best });
    }
  }
  assert.ok(met > 500 && refusals > 500, `${met} met, ${refusals} refused`);
});
