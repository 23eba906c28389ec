import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Precision, STANDARD_PRECISIONS, type Width } from '../../src/quantize/precision.js';
import { Calibrator } from '../../src/serving/calibration.js';
import { LatencyBook } from '../../src/serving/latency.js';
import { variantKey } from '../../src/serving/variants.js';
import { Random } from '../support/random.js';
import { FakeEngine, FakeStore, Gate, makeVersion, settle } from './fixtures.js';

const version = makeVersion({ input: { range: [0.25, 1] } });
const source = () => new FakeStore([version]).source(version);
const at = (bits: Width): Precision => ({ weightBits: bits, activationBits: bits });
const key = (bits: Width) => variantKey(version, at(bits));

/** A book and an engine on one clock, which a run moves by what it computes. */
function setUp(options: { boundMs?: number; staleMs?: number } = {}) {
  const clock = { now: 0 };
  const book = new LatencyBook(() => clock.now);
  const engine = new FakeEngine();
  engine.computeMs = (precision) => precision.weightBits;
  engine.onRun = (variant) => {
    clock.now += engine.computeMs(variant.precision, 1);
  };
  const warnings: object[] = [];
  const logger = { warn: (fields: object) => void warnings.push(fields) };
  const calibrator = new Calibrator({ engine, book, logger, ...options });
  return { clock, book, engine, calibrator, warnings };
}

test('the median is that of the last 31 runs, per image', () => {
  const book = new LatencyBook();
  assert.equal(book.median('a'), null);
  assert.equal(book.age('a'), Infinity);
  const random = new Random(3);
  const all: number[] = [];
  for (let i = 0; i < 200; i++) {
    const images = random.integer(1, 8);
    const ms = random.next() * 20;
    book.record('a', ms, images);
    all.push(ms / images);
    const last = all.slice(-31).sort((a, b) => a - b);
    const want = (last[Math.floor((last.length - 1) / 2)] + last[Math.ceil((last.length - 1) / 2)]) / 2;
    assert.equal(book.median('a'), want);
  }
  assert.equal(book.median('b'), null);
  book.forget('a');
  assert.equal(book.median('a'), null);
});

test('the book forgets what was not heard of for longest', () => {
  const book = new LatencyBook();
  for (let i = 0; i < 4096; i++) book.record(`${i}`, 1, 1);
  book.record('0', 1, 1);
  book.record('more', 1, 1);
  assert.equal(book.median('1'), null);
  assert.equal(book.median('0'), 1);
});

test('calibration measures every precision once, one at a time, and keeps nothing', async () => {
  const { book, engine, calibrator } = setUp();
  engine.onBuild = () => assert.equal(engine.live.size, 0, 'one at a time');
  await Promise.all(Array.from({ length: 50 }, () => calibrator.ensure(version, STANDARD_PRECISIONS, source)));
  assert.equal(engine.builds.length, STANDARD_PRECISIONS.length);
  assert.equal(engine.live.size, 0);
  for (const p of STANDARD_PRECISIONS) assert.equal(book.median(variantKey(version, p)), p.weightBits);
  assert.ok(engine.runs.every(({ input }) => input.length === 24 && input.every((x) => x === 0.25)));
  await calibrator.ensure(version, STANDARD_PRECISIONS, source);
  assert.equal(engine.builds.length, STANDARD_PRECISIONS.length, 'known figures are not measured again');
});

test('the first run warms up and does not count', async () => {
  const { book, engine, calibrator } = setUp();
  let runs = 0;
  engine.computeMs = () => (runs++ < 2 ? 40 : 3); // asked once by the clock, once by the result
  await calibrator.ensure(version, [at(4)], source);
  assert.equal(book.median(key(4)), 3);
});

test('what is known of real requests is not measured', async () => {
  const { book, engine, calibrator } = setUp();
  book.record(key(8), 77, 1);
  await calibrator.ensure(version, [at(8), at(4)], source);
  assert.deepEqual(engine.builds, ['4x4']);
  assert.equal(book.median(key(8)), 77);
});

test('past its time the calibration stops; the rest stays unknown until the next one', async () => {
  const { book, engine, calibrator } = setUp({ boundMs: 100 });
  engine.computeMs = () => 60;
  await calibrator.ensure(version, [at(2), at(3), at(4)], source);
  assert.deepEqual(engine.builds, ['2x2']);
  assert.equal(book.median(key(2)), 60);
  assert.equal(book.median(key(3)), null);
  await calibrator.ensure(version, [at(2), at(3), at(4)], source);
  await calibrator.ensure(version, [at(2), at(3), at(4)], source);
  assert.deepEqual(engine.builds, ['2x2', '3x3', '4x4']);
});

test('a precision that takes longer than the bound has its one run counted', async () => {
  const { book, engine, calibrator } = setUp({ boundMs: 100 });
  engine.computeMs = () => 5000;
  await calibrator.ensure(version, [at(2)], source);
  assert.equal(book.median(key(2)), 5000);
  assert.equal(engine.runs.length, 1);
});

test('a precision that cannot be built stays unknown, the others are measured', async () => {
  const { book, engine, calibrator, warnings } = setUp();
  engine.onBuild = (p) => (p.weightBits === 3 ? Promise.reject(new Error('boom')) : undefined);
  await calibrator.ensure(version, [at(2), at(3), at(4)], source);
  assert.equal(book.median(key(3)), null);
  assert.equal(book.median(key(4)), 4);
  assert.equal(warnings.length, 1);
  assert.equal((warnings[0] as { precision: string }).precision, '3x3');
});

test('a run that fails lets the variant go', async () => {
  const { engine, calibrator, warnings } = setUp();
  engine.onRun = () => Promise.reject(new Error('boom'));
  await calibrator.ensure(version, [at(2)], source);
  assert.equal(engine.live.size, 0);
  assert.equal(warnings.length, 1);
});

test('a stale figure is used on and measured again in the background', async () => {
  const { clock, book, engine, calibrator } = setUp({ staleMs: 1000 });
  book.record(key(4), 50, 1);
  clock.now = 2000;
  const gate = new Gate();
  engine.onBuild = () => gate.passed;
  await calibrator.ensure(version, [at(4)], source); // does not wait for the gate
  assert.equal(book.median(key(4)), 50);
  gate.open();
  await settle();
  await calibrator.close();
  assert.equal(book.median(key(4)), 4);
});

test('closing ends a calibration after the run it is in', async () => {
  const { engine, calibrator } = setUp();
  const gate = new Gate();
  engine.onRun = () => gate.passed;
  const ensured = calibrator.ensure(version, STANDARD_PRECISIONS, source);
  await settle();
  const closed = calibrator.close();
  gate.open();
  await Promise.all([ensured, closed]);
  assert.equal(engine.runs.length, 1);
  assert.equal(engine.live.size, 0);
});
