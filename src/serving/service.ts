import type { Engine, Variant } from '../engine/engine.js';
import type { Version } from '../model/store.js';
import type { Precision } from '../quantize/precision.js';
import { Admission, type Place } from './admission.js';
import { Batcher } from './batcher.js';
import { STEPS } from './brown-out.js';
import { Calibrator } from './calibration.js';
import { PrecisionChooser } from './choice.js';
import { Costs } from './costs.js';
import { Dimmer } from './dimmer.js';
import { Gate } from './gate.js';
import { readInput } from './input.js';
import { LatencyBook } from './latency.js';
import type { PredictionServiceOptions, ServingStore } from './options.js';
import type { Patience } from './patience.js';
import { predictAnswer, readTopK } from './prediction.js';
import {
  type Inference,
  type InferRequest,
  type PrecisionChoice,
  type PredictAnswer,
  type PredictBody,
  type PredictionService,
  type PredictRequest,
  type ResidentVariant,
  type ServiceLoad,
  type ServingObserver,
  versionAndLabel,
} from './request.js';
import { describeResident } from './resident.js';
import { type StepFacts, timed, timedRun } from './steps.js';
import { type CachedVariant, type Lease, VariantCache, variantKey } from './variants.js';
import type { Visit } from './visit.js';

export type { PredictionServiceOptions, ServingStore } from './options.js';

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
  readonly #admission: Admission;
  readonly #batcher: Batcher;
  readonly #dimmer: Dimmer;
  readonly #gate: Gate;
  /** What each variant is of. */
  readonly #versions = new WeakMap<Variant, Version>();

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
    this.#admission = new Admission({ max: config.maxQueue, status: config.overloadStatus as '503' | '429' });
    this.#gate = new Gate({
      admission: this.#admission,
      onRejected: (reason) => {
        if (reason === 'overload') this.#dimmer.brownOut?.refused(performance.now());
        observer.onRejected?.({ reason });
      },
    });
    this.#dimmer = new Dimmer({ costs, book, calibrator, config });
    this.#batcher = new Batcher({
      engine,
      maxBatch: config.batching === 'on' ? config.maxBatch : 1,
      waitMs: config.batchWaitMs,
      onBatch: ({ variant, waitedMs, ...run }) => {
        this.#dimmer.brownOut?.waited(waitedMs, performance.now());
        const { model, version } = this.#versions.get(variant) as Version;
        const { weightBits: bits, activationBits } = variant.precision;
        observer.onBatch?.({ model, version, bits, activationBits, ...run });
      },
    });
  }

  infer(request: InferRequest): Promise<Inference> {
    return this.#gate.pass(request, (place, patience) => this.#infer(request, place, patience));
  }

  async answerWith<T>(request: InferRequest, word: (inference: Inference) => T): Promise<T> {
    const inference = await this.infer(request);
    const start = performance.now();
    const answer = word(inference);
    const { model, version } = inference.version;
    const outputMs = performance.now() - start;
    this.#observer.onAnswer?.({ model, version, instances: inference.batch, outputMs });
    return answer;
  }

  async predict(request: PredictRequest): Promise<PredictAnswer> {
    // What needs no version is refused before any is read.
    const topK = readTopK(request.topK);
    return this.answerWith(request, (inference) => predictAnswer(inference, topK));
  }

  admits(): void {
    this.#gate.check();
  }

  load(): ServiceLoad {
    const { brownOut, power } = this.#dimmer;
    return {
      waiting: this.#batcher.waiting,
      running: this.#batcher.running,
      taken: this.#admission.taken,
      limit: this.#admission.max,
      brownOut: (brownOut?.step(performance.now()) ?? 0) / STEPS,
      power: power && { milliwatts: power.average(), budget: power.milliwatts },
    };
  }

  variants(model?: string): ResidentVariant[] {
    const latency = ({ id, variant }: CachedVariant) => this.#book.median(variantKey(id, variant.precision));
    return this.#cache.list(model).map((cached) => describeResident(cached, latency(cached)));
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
    await this.#gate.close();
    await this.#calibrator.close();
    this.#cache.close();
  }

  async #infer({ choice, body, ...asked }: InferRequest, place: Place, patience: Patience | null): Promise<Inference> {
    const start = performance.now();
    this.#chooser.check(choice);
    if (asked.version !== undefined && asked.label !== undefined) throw versionAndLabel();
    const version = await this.#store.get(asked.model ?? this.#config.defaultModel, asked.label ?? asked.version);
    try {
      return await this.#run(version, choice, body, { place, patience, start, steps: asked.steps });
    } catch (error) {
      const totalMs = performance.now() - start;
      this.#observer.onPredictionFailed?.({ model: version.model, version: version.version, totalMs });
      throw error;
    }
  }

  async #run(
    version: Version,
    choice: PrecisionChoice,
    body: PredictBody,
    { place, patience, start, steps }: Visit,
  ): Promise<Inference> {
    const { manifest, model } = version;
    const facts: StepFacts = { model, version: version.version };
    const readFrom = performance.now();
    const worthIt = { counted: (instances: number) => place.grow(instances), check: () => patience?.check() };
    const reading = () => readInput(body, manifest.input, this.#config, worthIt);
    const { input, batch } = await timed(steps, 'read input', reading, facts);
    facts.batch = batch;
    const inputMs = performance.now() - readFrom;
    patience?.check();
    place.grow(batch);
    const { taken, max } = this.#admission;
    this.#dimmer.brownOut?.queued(taken / max, this.#batcher.oldestMs(), performance.now());
    const source = () => this.#store.source(version);
    const choosing = () => {
      const chosen = this.#chooser.choose(version, choice, batch, source);
      // only for such a budget may there be something to measure first
      return patience && choice.budget?.maxLatencyMs !== undefined ? patience.guard(chosen) : chosen;
    };
    const base = await timed(steps, 'choose precision', choosing, facts);
    patience?.check();
    const { precision, degraded, energy } = this.#dimmer.dim(version, base, choice, batch, source);
    const { weightBits: bits, activationBits } = precision;
    Object.assign(facts, { bits, activationBits, degraded: degraded?.reason });

    let lease: Lease | undefined;
    try {
      const awaited = patience && !this.#cache.has(version, precision);
      const acquiring = this.#acquire(version, precision);
      const claimed = awaited ? patience.claim(acquiring) : acquiring;
      lease = await timed(
        steps,
        'build variant',
        () => claimed,
        facts,
        ({ cached }) => !cached,
      );
      const { variant } = lease;
      this.#versions.set(variant, version);
      const key = variantKey(version, precision);
      // A run that it shares takes no longer than the request has time for.
      const maxMs = choice.budget?.maxLatencyMs;
      const company = maxMs === undefined ? undefined : this.#book.imagesWithin(key, maxMs);
      const running = () => this.#batcher.run(variant, { input, batch, company, patience });
      const run = await timedRun(steps, running, facts);
      const { logits, queueMs, computeMs } = run;
      // The time of one image is that of a run of its own: what several share says little of it.
      if (run.together === batch) this.#book.record(key, computeMs, batch);
      energy?.spend();
      const energyUj = this.#costs.energyUj(version, precision) * batch;
      const expectedAccuracy = this.#costs.accuracy(version, precision);
      const totalMs = performance.now() - start;
      this.#observer.onPrediction?.({
        model,
        version: version.version,
        bits,
        activationBits,
        instances: batch,
        energyUj,
        expectedAccuracy,
        totalMs,
        inputMs,
        queueMs,
        computeMs,
        ...(degraded && { degraded: degraded.reason }),
      });
      const inference: Inference = {
        version,
        precision,
        batch,
        logits,
        cost: { energyUj, memoryBytes: variant.memoryBytes, expectedAccuracy },
        variant: { cached: lease.cached, buildMs: variant.buildMs, engine: variant.engine },
        timing: { queueMs, computeMs },
      };
      if (degraded) inference.degraded = degraded;
      return inference;
    } finally {
      energy?.cancel();
      lease?.release();
    }
  }

  #acquire(version: Version, precision: Precision): Promise<Lease> {
    const expected = this.#costs.bytes(version, precision);
    return this.#cache.acquire(version, precision, () => this.#store.source(version), expected);
  }
}
