/** What happens where the wasm heap is full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { loadBackend } from '../../src/tensorflow/backend.js';
import type { WasmBackend } from '../../src/tensorflow/kernels/heap.js';

const FULL = /^Error: wasm backend: out of memory; a smaller batch_size may help$/;

test('an allocation that fails is an error, and what is there stays whole', async () => {
  await loadBackend('wasm');
  const backend = tf.backend() as unknown as WasmBackend;
  const kept = tf.tensor1d([1, 2, 3]);
  // The heap ends at 4 GiB; a length of just that many bytes would wrap to none.
  for (const elements of [2 ** 30 - 1, 2 ** 30]) {
    assert.throws(() => backend.makeOutput([elements], 'float32'), FULL);
  }
  assert.deepEqual([...kept.dataSync()], [1, 2, 3]);
  kept.dispose();
});
