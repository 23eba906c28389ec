#!/usr/bin/env node
/**
 * Builds native/build/Release/bitdial.node: one call of the system's C++ compiler for each file, no node-gyp, no download.
 * Without a compiler it says so in one line and succeeds, for the reference engine then serves; --require makes that an
 * error. --sanitize=address|thread builds native/build/<name>/bitdial.node instead. CXX names another compiler.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const native = join(root, 'native');
const args = process.argv.slice(2);
const sanitize = args.find((a) => a.startsWith('--sanitize='))?.slice('--sanitize='.length);
const out = join(native, 'build', sanitize ?? 'Release');

const AVX2 = ['-mavx2', '-mfma', '-mf16c'];
const AVX512 = ['f', 'bw', 'vl', 'dq', 'vbmi', 'vnni'].map((part) => `-mavx512${part}`);
/** Every file with the flags of its own. */
const FILES = {
  addon: [],
  jobs: [],
  pool: [],
  plan: [],
  loader: [],
  quantize: [],
  scales: [],
  sketch: [],
  selection: [],
  inspect: [],
  execute: [],
  linear: [],
  winograd: [],
  winograd_fit: [],
  depthwise: [],
  inputs: [],
  kernels_portable: [],
  kernels_avx2: process.arch === 'x64' ? AVX2 : [],
  kernels_avx512vnni: process.arch === 'x64' ? [...AVX2, ...AVX512, '-mprefer-vector-width=512'] : [],
  kernels_amx:
    process.arch === 'x64' ? [...AVX2, ...AVX512, '-mamx-tile', '-mamx-int8', '-mprefer-vector-width=512'] : [],
  kernels_neon: process.arch === 'arm64' ? ['-march=armv8.2-a+dotprod'] : [],
  'training/trainer': [],
  'training/operations': [],
  'training/convolution': [],
  'training/depthwise': [],
  'training/layers': [],
  'training/taps': [],
  'training/crew': [],
  'training/selection': [],
  'training/portable': [],
  'training/avx2': process.arch === 'x64' ? AVX2 : [],
  'training/avx512': process.arch === 'x64' ? [...AVX2, ...AVX512, '-mprefer-vector-width=512'] : [],
};
/** GCC 12 takes the deliberately undefined operands of its own AVX-512 header for uninitialised ones. */
const UNDEFINED = ['-Wno-uninitialized', '-Wno-maybe-uninitialized'];
const QUIET = { kernels_avx512vnni: UNDEFINED, kernels_amx: UNDEFINED, 'training/avx512': UNDEFINED };

function findCompiler() {
  for (const name of [process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean)) {
    if (spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) return name;
  }
  return null;
}

function headers() {
  const require = createRequire(import.meta.url);
  const api = dirname(require.resolve('node-addon-api/package.json'));
  const node = join(dirname(require.resolve('node-api-headers/package.json')), 'include');
  return ['-isystem', api, '-isystem', node];
}

function flags() {
  const common = [
    '-std=c++20',
    '-O3',
    '-fPIC',
    '-fvisibility=hidden',
    '-pthread',
    '-Wall',
    '-Wextra',
    '-Wno-unused-function',
  ];
  // The arithmetic rounds after every step: no fused multiply-add but where a kernel asks for one. Without errno a root is
  // one instruction, and a vector of them too.
  common.push('-ffp-contract=off', '-fno-math-errno', '-DNAPI_CPP_EXCEPTIONS', '-DNAPI_VERSION=8', '-DNDEBUG');
  common.push('-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS');
  if (sanitize === 'address') common.push('-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined');
  if (sanitize === 'thread') common.push('-g', '-fsanitize=thread');
  return common;
}

function run(command, commandArgs) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArgs, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(text);
      else reject(new Error(text.split('\n').find((line) => /error/i.test(line)) ?? `${command} ended with ${code}`));
    });
  });
}

/** Flags of an instruction set, or none where the compiler is older than it: the file then says that it is not there. */
function known(compiler, own) {
  const empty = { input: '', stdio: ['pipe', 'ignore', 'ignore'] };
  return spawnSync(compiler, [...own, '-x', 'c++', '-fsyntax-only', '-'], empty).status === 0 ? own : [];
}

/** The newest change of anything that goes into a build. */
async function newestSource() {
  const { readdir } = await import('node:fs/promises');
  const folders = [native, join(native, 'training')];
  const lists = await Promise.all(folders.map(async (f) => (await readdir(f)).map((n) => join(f, n))));
  const names = lists.flat().filter((n) => /\.(cc|h|inl)$/.test(n));
  const times = await Promise.all([...names, fileURLToPath(import.meta.url)].map(async (n) => (await stat(n)).mtimeMs));
  return Math.max(...times);
}

async function build(compiler) {
  const target = join(out, 'bitdial.node');
  const built = await stat(target).then(
    (s) => s.mtimeMs,
    () => 0,
  );
  const machine = `${process.platform}-${process.arch}`;
  const stamp = await readFile(join(out, 'machine'), 'utf8').catch(() => '');
  if (stamp === machine && built > (await newestSource()) && !args.includes('--force')) return target;
  await mkdir(join(out, 'training'), { recursive: true });
  const include = headers();
  const queue = Object.entries(FILES);
  const objects = queue.map(([name]) => join(out, `${name}.o`));
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [name, own] = next;
      const compile = ['-c', join(native, `${name}.cc`), '-o', join(out, `${name}.o`)];
      const warnings = await run(compiler, [
        ...flags(),
        ...known(compiler, own),
        ...(QUIET[name] ?? []),
        ...include,
        ...compile,
      ]);
      if (warnings && args.includes('--warnings')) console.error(warnings);
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, worker));
  const link = ['-shared', '-pthread', ...(process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [])];
  if (sanitize === 'address') link.push('-fsanitize=address,undefined');
  if (sanitize === 'thread') link.push('-fsanitize=thread');
  // A process that has the old file loaded keeps it: the new one takes its name only when it is whole.
  const fresh = `${target}.${process.pid}`;
  await run(compiler, [...link, ...objects, '-o', fresh]);
  await rename(fresh, target);
  await writeFile(join(out, 'machine'), machine);
  return target;
}

function giveUp(why) {
  console.log(
    `bitdial: the native engine was not built (${why}); the slower reference engine will serve. \`npm run build:native\` tries again.`,
  );
  process.exit(args.includes('--require') ? 1 : 0);
}

const compiler = findCompiler();
if (!compiler) giveUp('no C++ compiler: c++, g++ or clang++ on PATH');
try {
  console.log(`bitdial: native engine: ${await build(compiler)}`);
} catch (error) {
  giveUp(error.message);
}
