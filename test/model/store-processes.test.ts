import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ModelStore } from '../../src/model/store.js';
import { temporaryFolder } from './folders.js';
import { markOf } from './versions.js';

interface Publisher {
  process: ChildProcess;
  /** Number by mark, as the process said them. */
  said: Map<number, number>;
  ready: Promise<void>;
  ended: Promise<number | null>;
}

function startPublisher(modelsDir: string, dataDir: string, from: number, to: number): Publisher {
  const script = fileURLToPath(new URL('./publisher.js', import.meta.url));
  const child = spawn(process.execPath, [script, modelsDir, dataDir, String(from), String(to)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = new Map<number, number>();
  let rest = '';
  let isReady = () => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  child.stdout.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'ready') isReady();
      else said.set(...(line.split(' ').map(Number) as [number, number]));
    }
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { process: child, said, ready, ended };
}

/** Every version by number, its mark read from the weights, so that every file of it was whole. */
async function marks(store: ModelStore): Promise<Map<number, number>> {
  const [entry] = await store.models();
  const found = new Map<number, number>();
  for (const { version } of entry?.versions ?? []) {
    found.set(version, markOf(await store.source(await store.get('tiny', version)).readWeights()));
  }
  return found;
}

test('two processes publish at once: every number once, no version lost', async () => {
  const folder = await temporaryFolder();
  const dirs: [string, string] = [join(folder, 'models'), join(folder, 'data')];
  const publishers = [startPublisher(...dirs, 1, 11), startPublisher(...dirs, 101, 111)];
  assert.deepEqual(await Promise.all(publishers.map(({ ended }) => ended)), [0, 0]);
  const said = publishers.flatMap((publisher) => [...publisher.said]);
  assert.equal(said.length, 20);
  const store = new ModelStore({ modelsDir: dirs[0], dataDir: dirs[1] });
  const found = await marks(store);
  assert.deepEqual(
    [...found.keys()],
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  for (const [mark, number] of said) assert.equal(found.get(number), mark);
  const { current } = (await store.models())[0];
  assert.ok(publishers.some((publisher) => [...publisher.said.values()].at(-1) === current));
});

test('a kill at any moment of a publication leaves a store that can be read', async (t) => {
  const folder = await temporaryFolder();
  const dirs: [string, string] = [join(folder, 'models'), join(folder, 'data')];
  const acknowledged = new Map<number, number>();
  let unfinished = 0;
  for (let round = 0; round < 16; round++) {
    const publisher = startPublisher(...dirs, round * 1000 + 1, round * 1000 + 999);
    await publisher.ready;
    // Every other process gets through one publication at least, on a slow machine too.
    while (round % 2 === 1 && publisher.said.size === 0) await sleep(1);
    await sleep(Math.random() * 60);
    publisher.process.kill('SIGKILL');
    await publisher.ended;
    const files = await readdir(join(dirs[1], 'models', 'tiny')).catch(() => []);
    if (files.some((name) => name.startsWith('.tmp'))) unfinished++;

    const warnings: unknown[] = [];
    const logger = { warn: (...args: unknown[]) => void warnings.push(args) };
    const store = new ModelStore({ modelsDir: dirs[0], dataDir: dirs[1], logger });
    const before = acknowledged.size;
    for (const [mark, number] of publisher.said) acknowledged.set(number, mark);
    assert.equal(acknowledged.size, before + publisher.said.size, 'no number is given twice');
    const [entry] = await store.models();
    if (entry === undefined) {
      assert.equal(acknowledged.size, 0);
      continue;
    }
    const last = Math.max(0, ...acknowledged.keys());
    assert.ok(entry.current >= last, `current is ${entry.current}, not the acknowledged ${last} or one after it`);
    const versions = new Set(entry.versions.map(({ version }) => version));
    for (const number of acknowledged.keys()) assert.ok(versions.has(number), `version ${number} is lost`);
    const left = (await readdir(join(dirs[1], 'models', 'tiny'))).filter((name) => name.startsWith('.tmp'));
    assert.deepEqual(left, [], 'what the killed process left is removed');
    assert.deepEqual(warnings, []);
  }
  const found = await marks(new ModelStore({ modelsDir: dirs[0], dataDir: dirs[1] }));
  for (const [number, mark] of acknowledged) assert.equal(found.get(number), mark);
  assert.ok(acknowledged.size > 0, 'no process came as far as one publication');
  t.diagnostic(`${acknowledged.size} acknowledged, ${found.size} found, ${unfinished} kills within a write`);
});
