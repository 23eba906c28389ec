import type { Config } from '../config.js';
import type { Engine, VariantSource } from '../engine/engine.js';
import { ServiceError } from '../errors.js';
import type { Version } from '../model/store.js';
import type { EnergyTable } from '../quantize/energy.js';
import { Calibrator, type WarningLog } from './calibration.js';
import { PrecisionChooser } from './choice.js';
import { Costs } from './costs.js';
import { readInput } from './input.js';
import { LatencyBook } from './latency.js';
import { milliseconds, predictAnswer, readTopK } from './prediction.js';
import type {
  Inference,
  InferRequest,
  PrecisionChoice,
  PredictAnswer,
  PredictBody,
  PredictionService,
  PredictRequest,
  ResidentVariant,
  ServingObserver,
} from './request.js';
import { VariantCache, variantKey } from './variants.js';

/** What serving needs of the store. */
export interface ServingStore {
  /** Without a number: the current version. @throws ServiceError model_not_found, version_not_found */
  get(model: string, version?: number): Promise<Version>;
  source(version: Version): VariantSource | Promise<VariantSource>;
}

export interface PredictionServiceOptions {
  config: Pick<
    Config,
    'defaultModel' | 'defaultBits' | 'variantCacheBytes' | 'maxBatch' | 'maxImagePixels' | 'maxQueue'
  >;
  store: ServingStore;
  /** Used, not owned: who made it closes it, after the service. */
  engine: Engine;
  energyTable: EnergyTable;
  observer?: ServingObserver;
  logger?: WarningLog;
}

const WARM_UP_RUNS = 8;

export function createPredictionService(options: PredictionServiceOptions): PredictionService {
  return new Service(options);
}

class Service implements PredictionService {
  readonly #config: PredictionServiceOptions['config'];
  readonly #store: ServingStore;
  readonly #engine: Engine;
  readonly #observer: ServingObserver;
  readonly #costs: Costs;
  readonly #cache: VariantCache;
  readonly #calibrator: Calibrator;
  readonly #chooser: PrecisionChooser;
  readonly #book = new LatencyBook();
  #inFlight = 0;
  #closing = false;
  /** Called when the last prediction ends. */
  #onIdle: (() => void) | null = null;

  constructor({ config, store, engine, energyTable, observer = {}, logger }: PredictionServiceOptions) {
    this.#config = config;
    this.#store = store;
    this.#engine = engine;
    this.#observer = observer;
    const book = this.#book;
    const maxBytes = config.variantCacheBytes;
    const costs = new Costs(energyTable);
    const calibrator = new Calibrator({ engine, book, logger });
    this.#costs = costs;
    this.#calibrator = calibrator;
    this.#cache = new VariantCache({ engine, maxBytes, observer });
    this.#chooser = new PrecisionChooser({ defaultBits: config.defaultBits, costs, book, calibrator, maxBytes });
  }

  async infer(request: InferRequest): Promise<Inference> {
    if (this.#closing) throw new ServiceError('not_ready', 'the service is closing');
    const { maxQueue } = this.#config;
    if (this.#inFlight >= maxQueue) {
      const detail = `${this.#inFlight} predictions are waiting or running, the service takes ${maxQueue} at a time`;
      throw new ServiceError('overloaded', detail, { retry_after_s: 1 });
    }
    this.#inFlight++;
    try {
      return await this.#infer(request);
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#onIdle?.();
    }
  }

  async predict(request: PredictRequest): Promise<PredictAnswer> {
    // What needs no version is refused before any is read.
    const topK = readTopK(request.topK);
    const inference = await this.infer(request);
    const start = performance.now();
    const answer = predictAnswer(inference, topK);
    const { model, version } = answer;
    const outputMs = performance.now() - start;
    this.#observer.onAnswer?.({ model, version, instances: inference.batch, outputMs });
    return answer;
  }

  variants(model?: string): ResidentVariant[] {
    return this.#cache.list(model).map(({ id, variant, hits, inUse }) => ({
      model: id.model,
      version: id.version,
      bits: variant.precision.weightBits,
      activation_bits: variant.precision.activationBits,
      memory_bytes: variant.memoryBytes,
      hits,
      in_use: inUse,
      engine: variant.engine,
      build_ms: milliseconds(variant.buildMs),
      latency_ms: this.#book.median(variantKey(id, variant.precision)),
    }));
  }

  async dropVariants(model: string): Promise<{ dropped: number; bytes: number }> {
    const result = this.#cache.drop(model);
    if (result.dropped === 0) await this.#store.get(model); // throws where there is no such model
    return result;
  }

  async warmUp(model = this.#config.defaultModel): Promise<void> {
    const version = await this.#store.get(model);
    const lease = await this.#acquire(version, this.#chooser.default(version));
    try {
      const { shape, range } = version.manifest.input;
      const blank = new Float32Array(shape[0] * shape[1] * shape[2]).fill(range[0]);
      // Several at once, so that every thread of the engine has met the code before a client does.
      await Promise.all(Array.from({ length: WARM_UP_RUNS }, () => this.#engine.run(lease.variant, blank, 1)));
    } finally {
      lease.release();
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#calibrator.close();
    this.#cache.close();
  }

  async #infer({ choice, body, ...asked }: InferRequest): Promise<Inference> {
    const start = performance.now();
    this.#chooser.check(choice);
    const version = await this.#store.get(asked.model ?? this.#config.defaultModel, asked.version);
    try {
      return await this.#run(version, choice, body, start);
    } catch (error) {
      const totalMs = performance.now() - start;
      this.#observer.onPredictionFailed?.({ model: version.model, version: version.version, totalMs });
      throw error;
    }
  }

  async #run(version: Version, choice: PrecisionChoice, body: PredictBody, start: number): Promise<Inference> {
    const { manifest, model } = version;
    const readFrom = performance.now();
    const { input, batch } = await readInput(body, manifest.input, this.#config);
    const inputMs = performance.now() - readFrom;
    const precision = await this.#chooser.choose(version, choice, batch, () => this.#store.source(version));

    const lease = await this.#acquire(version, precision);
    try {
      const { variant } = lease;
      const { logits, queueMs, computeMs } = await this.#engine.run(variant, input, batch);
      this.#book.record(variantKey(version, precision), computeMs, batch);
      const { weightBits: bits, activationBits } = precision;
      const energyUj = this.#costs.energyUj(version, precision) * batch;
      const totalMs = performance.now() - start;
      const told = { model, version: version.version, bits, activationBits, instances: batch, energyUj };
      this.#observer.onBatch?.({ model, version: version.version, requests: 1, instances: batch, computeMs });
      this.#observer.onPrediction?.({ ...told, totalMs, inputMs, queueMs, computeMs });
      const expectedAccuracy = this.#costs.accuracy(version, precision);
      return {
        version,
        precision,
        batch,
        logits,
        cost: { energyUj, memoryBytes: variant.memoryBytes, expectedAccuracy },
        variant: { cached: lease.cached, buildMs: variant.buildMs, engine: variant.engine },
        timing: { queueMs, computeMs },
      };
    } finally {
      lease.release();
    }
  }

  #acquire(version: Version, precision: Parameters<Costs['bytes']>[1]) {
    const expected = this.#costs.bytes(version, precision);
    return this.#cache.acquire(version, precision, () => this.#store.source(version), expected);
  }
}
