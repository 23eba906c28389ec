/** Versions for the store's tests: a tiny net whose bias tells one from another. */
import type { NewVersion } from '../../src/model/store.js';

export function newVersion(mark: number, model = 'tiny'): NewVersion {
  return {
    manifest: {
      model,
      input: { shape: [2, 2, 1], range: [0, 1], resize: 'fill' },
      labels: ['no', 'yes'],
      ranges: { in: { min: 0, max: 1, clip: { 4: [0, 0.9] } } },
      quantizer: { clip_rules: { '4x4': 'p-2.4' }, minimum_bits: {} },
      default_precision: '8x8',
      precisions: { '8x8': { accuracy: 0.5, images: 10, memory_bytes: 100, macs: 8, energy_uj: 0.1 } },
      training: null,
    },
    topology: {
      format: 'layers-model',
      modelTopology: {
        class_name: 'Sequential',
        config: {
          name: 'tiny',
          layers: [
            { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, 2, 2, 1] } },
            { class_name: 'Dense', config: { name: 'mix', units: 3, activation: 'relu' } },
            { class_name: 'Flatten', config: { name: 'flat' } },
            { class_name: 'Dense', config: { name: 'out', units: 2, use_bias: true } },
          ],
        },
      },
    },
    weights: new Map([
      ['mix/kernel', { shape: [1, 1, 1, 3], data: Float32Array.from([1, 2, 3]) }],
      ['mix/bias', { shape: [3], data: Float32Array.from([0, 0, 0]) }],
      ['out/kernel', { shape: [12, 2], data: new Float32Array(24).fill(0.5) }],
      ['out/bias', { shape: [2], data: Float32Array.from([mark, -mark]) }],
    ]),
  };
}

/** The mark of a version, from its weights. */
export function markOf(weights: NewVersion['weights']): number {
  return weights.get('out/bias')?.data[0] ?? Number.NaN;
}
