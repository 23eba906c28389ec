import assert from 'node:assert/strict';
import { test } from 'node:test';
import { correctionsOf } from '../../src/engine/engine.js';
import { loadLibrary, type NativePool } from '../../src/engine/native-library.js';
import { describe } from '../../src/engine/native-plan.js';
import { fuseGraph } from '../../src/quantize/fuse.js';
import type { Random } from '../support/random.js';
import { findLibrary, testNet, withCorrections } from './native-nets.js';

const { skip } = findLibrary();
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);

async function built(pool: NativePool, words: Float64Array, sources: Float32Array[], path = '') {
  return pool.build(words, sources, path);
}

test('thousands of malformed plans are refused in words or run; none brings the process down', { skip }, async () => {
  const pool = new (loadLibrary().Engine)(2, '');
  const outcomes = { refused: 0, ran: 0 };
  const odd = [-1, 0, 1, 2, 3, 5, 7, 8, 9, 64, 255, 65536, 2 ** 31, 2 ** 32, 2 ** 53, 0.5, -0, Number.NaN, -1e300];
  const infinities = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let seed = 1; seed <= Math.ceil(60 * share); seed++) {
    const { source, random } = testNet(4000 + seed, 7);
    const weights = await source.readWeights();
    const precision = random.pick([
      { weightBits: 4, activationBits: 8 },
      { weightBits: 8, activationBits: 4 },
      { weightBits: 32, activationBits: 32 },
      { weightBits: 3, activationBits: 16 },
    ] as const);
    const corrected = withCorrections(source, precision, random);
    const given = await correctionsOf(corrected, precision);
    const { words, sources, corrections, plan } = describe(
      fuseGraph(source.graph),
      corrected.manifest,
      precision,
      given,
    );
    const floats = [...sources.map((name) => weights.get(name)?.data as Float32Array), ...corrections];
    for (let i = 0; i < 60; i++) {
      const changed = mutated(words, random, [...odd, ...infinities]);
      try {
        const { id } = await built(pool, changed, random.chance(0.05) ? floats.slice(1) : floats);
        // The shape of the input may have changed: what it asks for is said in the error.
        const input = plan.tensors[plan.input];
        const size = input.height * input.width * input.channels;
        await pool.run(id, new Float32Array(size), 1).catch((error: Error) => assert.match(error.message, /expected/));
        pool.release(id);
        outcomes.ran++;
      } catch (error) {
        assert.match((error as Error).message, /expected .* got |could overflow|no memory|bad_alloc/);
        outcomes.refused++;
      }
    }
  }
  pool.close();
  if (share === 1) assert.ok(outcomes.refused > 1500 && outcomes.ran > 100, JSON.stringify(outcomes));
});

function mutated(words: Float64Array, random: Random, odd: number[]): Float64Array {
  const copy = Float64Array.from(words);
  const at = () => random.integer(0, copy.length - 1);
  switch (random.integer(0, 4)) {
    case 0:
      return copy.subarray(0, at());
    case 1:
      return Float64Array.from([...copy, random.pick(odd)]);
    case 2:
      copy[at()] = copy[at()];
      return copy;
    default:
      for (let n = random.integer(1, 3); n > 0; n--) {
        const place = at();
        copy[place] = random.chance(0.5) ? random.pick(odd) : copy[place] + random.pick([-1, 1]);
      }
      return copy;
  }
}

test('arguments of the wrong kind are errors of JavaScript', { skip }, () => {
  const { Engine } = loadLibrary();
  assert.throws(() => new Engine(0, ''), /threads: expected/);
  assert.throws(() => new Engine(1, 'mmx'), /isa: expected/);
  const pool = new Engine(1, '');
  const loose = pool as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const args of [[], [1, 2, 3], [new Float64Array(1), {}, ''], [new Float32Array(1), [], '']]) {
    assert.throws(() => loose.build(...args), TypeError);
  }
  assert.throws(() => loose.build(new Float64Array(1), [7], ''), TypeError);
  assert.throws(() => loose.build(new Float64Array(1), [[-1, 2]], ''), RangeError);
  assert.throws(() => loose.run(99, new Float32Array(1), 1), /was released/);
  assert.throws(() => loose.run('x', new Float32Array(1), 1), /was released/);
  pool.close();
  assert.throws(() => loose.run(1, new Float32Array(1), 1), /closed/);
  pool.close();
});
