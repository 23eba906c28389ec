import { loadBackend } from '../../src/tensorflow/backend.js';
import { kernelCases } from './kernel-cases.js';

await loadBackend('wasm', { kernels: 'plain' });
kernelCases();
