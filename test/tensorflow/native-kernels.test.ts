import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadBackend } from '../../src/tensorflow/backend.js';
import { findLibrary } from '../engine/native-nets.js';
import { kernelCases } from './kernel-cases.js';

const { skip } = findLibrary();
if (skip) test('kernels of the addon', { skip }, () => undefined);
else {
  const { label } = await loadBackend('wasm', { threads: 2 });
  test('the addon computes', () => assert.match(label, /^wasm-native-/));
  kernelCases();
}
