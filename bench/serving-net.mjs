/** What the benchmarks of serving serve: the shipped models, and a net of dense layers, whose weights are what is read. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../dist/src/config.js';
import { calibrate } from '../dist/src/engine/calibration.js';
import { ModelStore } from '../dist/src/model/store.js';
import { readEnergyTable } from '../dist/src/quantize/energy.js';
import { createPredictionService } from '../dist/src/serving/service.js';
import { images, mlp } from './nets.mjs';

const MODELS = fileURLToPath(new URL('../models', import.meta.url));

export class Served {
  /** @param engine of the services, not closed with this */
  static async open(engine) {
    const dataDir = await mkdtemp(join(tmpdir(), 'bitdial-bench-'));
    const served = new Served(engine, dataDir);
    await served.#publish(mlp());
    return served;
  }

  constructor(engine, dataDir) {
    this.engine = engine;
    this.dataDir = dataDir;
    this.store = new ModelStore({ modelsDir: MODELS, dataDir, logger: { warn: console.error } });
    this.services = [];
  }

  /** @param env settings by their names */
  service(env = {}, observer = {}) {
    const config = readConfig({ DATA_DIR: this.dataDir, MODELS_DIR: MODELS, ...env });
    const { engine, store } = this;
    const service = createPredictionService({ config, store, engine, energyTable: readEnergyTable(), observer });
    this.services.push(service);
    return { service, config };
  }

  /** One image of noise for a model, as raw float32 bytes. */
  async image(model) {
    const { shape, range } = (await this.store.get(model)).manifest.input;
    const noise = images({ shape }, 1);
    return Buffer.from(noise.map((x) => range[0] + ((x + 1) / 2) * (range[1] - range[0])).buffer);
  }

  async close() {
    for (const service of this.services) await service.close();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  async #publish(net) {
    const input = { shape: net.shape, range: [-1, 1], resize: 'fill' };
    const ranges = calibrate(net.graph, net.weights, input, [{ input: images(net, 4), batch: 4 }]);
    const manifest = {
      model: net.name,
      input,
      labels: Array.from({ length: net.outputs }, (_, i) => String(i)),
      ranges,
      quantizer: { clip_rules: {}, minimum_bits: {} },
      default_precision: '8x8',
      // Made up: nothing of random weights is accurate.
      precisions: { '8x8': { accuracy: 0.1, images: 1, memory_bytes: 1, macs: 1, energy_uj: 1 } },
      training: null,
    };
    await this.store.publish({ manifest, topology: net.document, weights: net.weights }, { makeCurrent: true });
  }
}
