#!/usr/bin/env node
/**
 * Runs the benchmarks, prints the tables and writes results.json. `npm run bench -- [--quick] [--out=file] [part …]`, parts:
 * nets layers memory training serving http batching overload; without a name all of them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..');
const args = process.argv.slice(2);
const quick = args.includes('--quick');
const out = args.find((a) => a.startsWith('--out='))?.slice('--out='.length) ?? join(here, 'results.json');
const PARTS = ['nets', 'layers', 'memory', 'training', 'serving', 'http', 'batching', 'overload'];
const named = args.filter((a) => !a.startsWith('--'));
const unknown = named.find((part) => !PARTS.includes(part));
if (unknown) throw new Error(`bench: expected parts among ${PARTS.join(', ')}, got ${unknown}`);
const wanted = (part) => named.length === 0 || named.includes(part);

if (!existsSync(join(root, 'dist/src/main.js'))) {
  console.error('bench: dist/ is not there; run `npm install` and `npm run build` first');
  process.exit(1);
}
if (!existsSync(join(root, 'native/build/Release/bitdial.node')) && !process.env.BITDIAL_ADDON) {
  console.error('bench: the native engine is not built; `npm run build:native` builds it (it needs g++ or clang++)');
  process.exit(1);
}
if (!existsSync(join(here, 'node_modules/onnxruntime-node'))) {
  // The package holds its CPU library; its script would only fetch CUDA.
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const { status } = spawnSync(npm, ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: here,
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(1);
}

const { FULL, QUICK, measureLayers, measureNets } = await import('./run.mjs');
const { Probe } = await import('./probe.mjs');
const { tables } = await import('./report.mjs');
const { targets } = await import('./targets.mjs');

const size = quick ? QUICK : FULL;
const began = performance.now();
const results = { machine: machine(), versions: versions(), quick };
const probe = new Probe();
const say = (text) => console.error(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}`);
if (results.machine.load > 0.5) say(`the machine is not idle: load ${results.machine.load}; the figures will be noisy`);
try {
  if (wanted('nets')) {
    const log = (c) => say(`${c.net}, batch ${c.batch}, ${c.threads} threads, caches ${c.caches}: ${line(c)}`);
    Object.assign(results, await measureNets(size, probe, log));
  }
  if (wanted('layers')) {
    const log = (r) => say(`${r.layer}, batch ${r.batch}, ${r.name}: ${r.gmacs.toFixed(0)} GMAC/s`);
    results.layers = await measureLayers(size, probe, log);
  }
  await probe.sample(true);
  results.roofline = probe.result();
  if (wanted('memory')) {
    say('resident memory of servers');
    results.memory = await (await import('./rss.mjs')).measureMemory({ repeats: quick ? 1 : 3 });
  }
  if (wanted('training')) {
    say('training steps');
    const log = (r) =>
      say(
        `${r.net}, ${r.backend}: ${r.unavailable ?? `${r.plain_ms.toFixed(1)} ms, regularised × ${r.ratio.toFixed(2)}`}`,
      );
    const { measureTraining } = await import('./training.mjs');
    results.training = await measureTraining({ budgetMs: quick ? 2000 : 8000, log });
  }
  if (wanted('serving')) {
    say('predictions during training');
    results.serving = await (await import('./serving.mjs')).measureServing({ requests: quick ? 200 : 1600 });
  }
  if (wanted('http')) {
    say('main-thread time of requests');
    results.http = await (await import('./http.mjs')).measureHttp(quick ? { rounds: 5, each: 100 } : {});
  }
  if (wanted('batching')) {
    const { line: told, measureBatching } = await import('./batching.mjs');
    results.batching = await measureBatching({ rounds: quick ? 5 : 12, log: (row) => say(told(row)) });
  }
  if (wanted('overload')) {
    const { line: told, measureOverload } = await import('./overload.mjs');
    const seconds = quick ? { seconds: 4, powerSeconds: 6 } : {};
    results.overload = await measureOverload({ ...seconds, log: (row) => say(told(row)) });
    const { line: refused, measureRefusals } = await import('./refusals.mjs');
    results.refusals = await measureRefusals({ each: quick ? 50 : 200, log: (row) => say(refused(row)) });
  }
} finally {
  probe.close();
}
results.seconds = Math.round((performance.now() - began) / 1000);
results.targets = targets(results);
writeFileSync(out, `${JSON.stringify(results, rounded, 2)}\n`);
console.log(tables(results));
say(`written to ${out}`);

function line({ rows }) {
  return rows.map(({ name, ms }) => `${name} ${ms.toFixed(ms < 1 ? 3 : 2)}`).join(', ');
}

function machine() {
  const [cpu] = cpus();
  return {
    cpu: cpuName() ?? cpu?.model,
    cores: availableParallelism(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${process.arch}`,
    date: new Date().toISOString(),
    load: Math.round(loadavg()[0] * 100) / 100,
  };
}

/** Some hypervisors hide the model's name; its numbers still tell. */
function cpuName() {
  try {
    const text = readFileSync('/proc/cpuinfo', 'utf8');
    const field = (name) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(text)?.[1];
    return `${field('model name')} (family ${field('cpu family')}, model ${field('model')})`;
  } catch {
    return null;
  }
}

function versions() {
  const own = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).version;
  let commit = null;
  try {
    // With a + where the sources are not those of the commit.
    const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
    commit = git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', 'native', 'src') ? '+' : '');
  } catch {
    // Not a clone.
  }
  return {
    node: process.version,
    bitdial: own('package.json'),
    commit,
    'onnxruntime-node': own('bench/node_modules/onnxruntime-node/package.json'),
    'tfjs-backend-wasm': own('node_modules/@tensorflow/tfjs-backend-wasm/package.json'),
  };
}

/** Five digits are more than a clock in a shared machine is worth. */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}
