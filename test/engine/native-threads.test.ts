import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { addonPath } from '../../src/addon.js';
import { NativeEngine } from '../../src/engine/native.js';
import { runPlan } from '../../src/engine/reference.js';
import { createEngine } from '../../src/engine/select.js';
import { buildPlan } from '../../src/quantize/build.js';
import type { Width } from '../../src/quantize/precision.js';
import { findLibrary, testNet } from './native-nets.js';

const { library, skip } = findLibrary();
const share = Number(process.env.BITDIAL_TEST_SHARE ?? 1);

test('hundreds of runs, builds and releases at once all get their own answers', { skip }, async () => {
  const before = library?.planBytes();
  const engine = await NativeEngine.create({ threads: 3 });
  const { source, draw } = testNet(77, 0, [
    { channels: 48, kernel: 3, stride: 1 },
    { channels: 96, kernel: 3, stride: 1 },
    { channels: 64, kernel: 3, stride: 2 },
  ]);
  const weights = await source.readWeights();
  const inputs = [1, 2, 9, 1].map((batch) => ({ batch, input: draw(batch) }));
  const wanted = new Map(
    ([2, 5, 8] as Width[]).map((weightBits) => {
      const plan = buildPlan(source.graph, weights, source.manifest, { weightBits, activationBits: 8 });
      return [weightBits, inputs.map(({ input, batch }) => runPlan(plan, input, batch))];
    }),
  );
  const rounds = Array.from({ length: Math.ceil(30 * share) }, async (_, round) => {
    const weightBits = ([2, 5, 8] as Width[])[round % 3];
    const variant = await engine.build(source, { weightBits, activationBits: 8 });
    const runs = Array.from({ length: 8 }, (_, i) => {
      const { input, batch } = inputs[(round + i) % inputs.length];
      return engine.run(variant, input, batch);
    });
    // What runs goes on; what comes after is refused.
    engine.release(variant);
    await assert.rejects(engine.run(variant, inputs[0].input, 1), /was released/);
    const results = await Promise.all(runs);
    results.forEach(({ logits, queueMs, computeMs }, i) => {
      assert.deepEqual(logits, wanted.get(weightBits)?.[(round + i) % inputs.length]);
      assert.ok(queueMs >= 0 && computeMs >= 0);
    });
  });
  await Promise.all(rounds);
  assert.equal(library?.planBytes(), before, 'all memory should be given back');
  await engine.close();
});

test('close waits for what runs and refuses what comes after', { skip }, async () => {
  const engine = await NativeEngine.create({ threads: 2 });
  const { source, draw } = testNet(78, 6);
  const variant = await engine.build(source, { weightBits: 4, activationBits: 4 });
  const runs = Array.from({ length: 50 }, () => engine.run(variant, draw(2), 2));
  const closed = engine.close();
  await assert.rejects(engine.run(variant, draw(1), 1), /closed/);
  await assert.rejects(engine.build(source, { weightBits: 4, activationBits: 4 }), /closed/);
  await closed;
  for (const { logits } of await Promise.all(runs)) assert.ok(logits.length > 0);
  await engine.close();
});

test('a thread of Node may end while its engine works', { skip }, async () => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Engine } = require(workerData);
    const pool = new Engine(2, '');
    for (let i = 0; i < 20; i++) pool.build(new Float64Array(3), [], '').catch(() => {});
    parentPort.postMessage('begun');
    setTimeout(() => process.exit(0), 1);
  `;
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(code, { eval: true, workerData: addonPath() });
    await new Promise((resolve) => worker.once('exit', resolve));
  }
});

test('the event loop is free while the engine works', { skip }, async () => {
  const engine = await NativeEngine.create({ threads: 1 });
  const { source, draw } = testNet(79, 0, [{ channels: 256, kernel: 3, stride: 1 }]);
  const variant = await engine.build(source, { weightBits: 8, activationBits: 8 });
  const input = draw(64);
  let running = true;
  let turns = 0;
  const turning = (async () => {
    while (running) {
      await new Promise((resolve) => setImmediate(resolve));
      turns++;
    }
  })();
  const runs = 20;
  for (let i = 0; i < runs; i++) await engine.run(variant, input, 64);
  running = false;
  await turning;
  // Runs that block the loop leave it a turn or two each.
  assert.ok(turns > 4 * runs, `the loop turned ${turns} times during ${runs} runs`);
  await engine.close();
});

test('auto takes the native engine where it loads, else the reference one, and says so once', async () => {
  const warnings: string[] = [];
  const logger = { warn: (message: string) => warnings.push(message) };
  const addon = process.env.BITDIAL_ADDON;
  if (!skip) {
    const engine = await createEngine({ engine: 'auto', threads: 1, logger });
    assert.match(engine.name, /^native-/);
    await engine.close();
    assert.deepEqual(warnings, []);
  }
  try {
    process.env.BITDIAL_ADDON = '/nowhere/bitdial.node';
    const engine = await createEngine({ engine: 'auto', threads: 1, logger });
    assert.equal(engine.name, 'reference');
    await engine.close();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /reference engine serves.*npm run build:native/);
    await assert.rejects(createEngine({ engine: 'native' }), /ENGINE=native: .*npm run build:native/);
  } finally {
    if (addon === undefined) delete process.env.BITDIAL_ADDON;
    else process.env.BITDIAL_ADDON = addon;
  }
});

test('threads that compute leave the core to the one that takes requests', {
  skip: skip || process.platform !== 'linux',
}, async () => {
  const niceness = async (id: string) => {
    const fields = await readFile(`/proc/self/task/${id}/stat`, 'utf8');
    // the name before them, in parentheses, may hold spaces
    return Number(fields.slice(fields.lastIndexOf(')') + 2).split(' ')[16]);
  };
  const before = new Set(await readdir('/proc/self/task'));
  const engine = await NativeEngine.create({ threads: 3 });
  try {
    const { source, draw } = testNet(77, 0, [{ channels: 16, kernel: 3, stride: 1 }]);
    await engine.run(await engine.build(source, { weightBits: 4, activationBits: 8 }), draw(1), 1);
    const own = await niceness(String(process.pid));
    const begun = (await readdir('/proc/self/task')).filter((id) => !before.has(id));
    const least = Math.min(19, own + 4);
    const lower = (await Promise.all(begun.map(niceness))).filter((n) => n === least);
    assert.ok(lower.length >= 3, `${lower.length} of ${begun.length} threads`);
  } finally {
    await engine.close();
  }
});
