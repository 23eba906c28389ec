/** Chooses what TF.js computes with: libtensorflow (CUDA or CPU) where it loads, else WebAssembly. */
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { keepLoaded } from './keep-loaded.js';
import { refuseExhaustion, type WasmBackend } from './kernels/heap.js';
import { registerWasmKernels } from './kernels/register.js';
import { registerLibtensorflowKernels } from './libtensorflow/register.js';
import { registerNativeKernels } from './native/register.js';

export type BackendName = 'tensorflow' | 'wasm';

export interface Backend {
  tf: typeof tf;
  name: BackendName;
  /** The name, and whose kernels: the same seed gives the same result under the same label. */
  label: string;
}

export interface BackendOptions {
  /** The addon's kernels on wasm, where the addon loads, or those in JavaScript; the environment's BITDIAL_TRAINING_KERNELS. */
  kernels?: 'auto' | 'plain';
  /** Of the addon's kernels; 0: one for each core. */
  threads?: number;
}

const require = createRequire(import.meta.url);
let chosen: Promise<Backend> | null = null;

/**
 * The backend of this thread, loaded once. Asking for `wasm` skips libtensorflow; asking for a second backend after
 * one is loaded is an error, since TF.js holds one engine per thread.
 */
export async function loadBackend(
  wanted: BackendName | 'auto' = 'auto',
  options: BackendOptions = {},
): Promise<Backend> {
  chosen ??= choose(wanted, options).catch((error) => {
    chosen = null;
    throw error;
  });
  const backend = await chosen;
  if (wanted !== 'auto' && wanted !== backend.name) {
    throw new Error(`training backend: expected ${wanted}, but this thread already runs ${backend.name}`);
  }
  return backend;
}

async function choose(wanted: BackendName | 'auto', options: BackendOptions): Promise<Backend> {
  tf.env().set('PROD', true);
  if (wanted !== 'wasm') {
    try {
      return await loadTensorflow();
    } catch (error) {
      // Not installed, no shared library, no matching CUDA: each means the same to a trainer with a second choice.
      if (wanted === 'tensorflow') throw error;
    }
  }
  return loadWasm(options);
}

async function loadTensorflow(): Promise<Backend> {
  const entry = require.resolve('@tensorflow/tfjs-node-gpu');
  const theirs = createRequire(entry).resolve('@tensorflow/tfjs-core');
  const ours = require.resolve('@tensorflow/tfjs-core');
  if (theirs !== ours) throw new Error(`tfjs-node-gpu brings a second tfjs-core: ${theirs}, beside ${ours}`);
  // tfjs-node 4.22 calls these at run time; Node 23 took them away.
  const old = util as unknown as Record<string, unknown>;
  old.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  old.isArray ??= Array.isArray;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  keepLoaded(() => require(entry));
  if (!(await tf.setBackend('tensorflow'))) throw new Error('the tensorflow backend did not start');
  await tf.ready();
  registerLibtensorflowKernels();
  return { tf, name: 'tensorflow', label: 'tensorflow' };
}

async function loadWasm(options: BackendOptions): Promise<Backend> {
  const entry = require.resolve('@tensorflow/tfjs-backend-wasm');
  const before = new Map(PROCESS_EVENTS.map((event) => [event, process.listeners(event as 'exit')]));
  const wasm = require(entry) as typeof import('@tensorflow/tfjs-backend-wasm');
  // The threaded build does not load in Node.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  tf.env().set('WASM_HAS_SIMD_SUPPORT', true);
  wasm.setWasmPaths(join(dirname(entry), sep));
  if (!(await tf.setBackend('wasm'))) throw new Error('the wasm backend did not start');
  await tf.ready();
  // Emscripten's start-up code listens for uncaught errors of the whole process and rethrows them its own way.
  for (const [event, listeners] of before) {
    for (const listener of process.listeners(event as 'exit')) {
      if (!listeners.includes(listener)) process.removeListener(event, listener);
    }
  }
  refuseExhaustion(tf.backend() as unknown as WasmBackend);
  registerWasmKernels();
  const isa = nativeKernels(options);
  return { tf, name: 'wasm', label: isa === null ? 'wasm' : `wasm-native-${isa}` };
}

/** The instruction set of the addon's kernels, or null where JavaScript's are to do. */
function nativeKernels({
  threads,
  kernels = process.env.BITDIAL_TRAINING_KERNELS as 'auto' | 'plain',
}: BackendOptions) {
  if (kernels === 'plain') return null;
  try {
    return registerNativeKernels({ threads });
  } catch {
    // Not built: slower, and the same to whoever trains.
    return null;
  }
}

const PROCESS_EVENTS = ['uncaughtException', 'unhandledRejection'];
