/** Nets of the benchmarks as versions on disk, in a folder of their own that goes away at the end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelStore } from '../dist/src/model/store.js';
import { planBytes } from '../dist/src/quantize/build.js';

export class Versions {
  static async open() {
    return new Versions(await mkdtemp(join(tmpdir(), 'bitdial-bench-')));
  }

  constructor(folder) {
    this.folder = folder;
    this.modelsDir = join(folder, 'models');
    this.store = new ModelStore({ modelsDir: this.modelsDir, writeTo: 'models', logger: { warn: console.error } });
  }

  /**
   * @param ranges as calibrate() gives them
   * @param {string} precision the default one; its row of the table is made up but for the bytes: nothing here is accurate
   * @returns what an engine builds variants from
   */
  async publish(net, ranges, precision = '8x8') {
    const shape = net.shape.length === 3 ? net.shape : [1, 1, net.shape[0]];
    const input = { shape, range: [-1, 1], resize: 'fill' };
    const quantizer = { clip_rules: {}, minimum_bits: {} };
    const [weightBits, activationBits] = precision.split('x').map(Number);
    const bytes = planBytes(net.graph, { input, ranges, quantizer }, { weightBits, activationBits });
    const manifest = {
      model: net.name,
      input,
      labels: Array.from({ length: net.outputs }, (_, i) => String(i)),
      ranges,
      quantizer,
      default_precision: precision,
      precisions: { [precision]: { accuracy: 0.1, images: 1, memory_bytes: bytes, macs: 1, energy_uj: 1 } },
      training: null,
    };
    const version = { manifest, topology: net.document, weights: net.weights };
    return this.store.source(await this.store.publish(version, { makeCurrent: true }));
  }

  async close() {
    await rm(this.folder, { recursive: true, force: true });
  }
}
