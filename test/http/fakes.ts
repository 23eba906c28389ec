import type { Readable } from 'node:stream';
import { ServiceError } from '../../src/errors.js';
import type { DatasetCatalog, ModelCatalog, ModelImporter } from '../../src/http/parts.js';
import type { ImportRequest } from '../../src/importing/request.js';
import type { Job, JobEvent, JobOrigin, JobQueue, JobState, RedisState } from '../../src/jobs/job.js';
import type { Version } from '../../src/model/store.js';
import type {
  Inference,
  InferRequest,
  PredictAnswer,
  PredictionService,
  PredictRequest,
  ResidentVariant,
  ServiceLoad,
} from '../../src/serving/request.js';
import type { TrainRequest } from '../../src/training/request.js';
import { tinyVersion } from './tiny.js';

/** Versions in memory; `tiny` has two. */
export class FakeStore implements ModelCatalog {
  current = 1;
  readonly versions: Version[] = [tinyVersion, { ...tinyVersion, version: 2, digest: 'e'.repeat(64) }];

  readonly labels = new Map<string, number>();

  async models() {
    const versions = this.versions.map(({ version, digest }) => ({ version, digest }));
    const labels = { stable: this.current, ...Object.fromEntries(this.labels) };
    return [{ name: 'tiny', current: this.current, labels, versions }];
  }

  async get(model: string, which: number | string = this.current): Promise<Version> {
    if (model !== 'tiny') {
      throw new ServiceError('model_not_found', `model: expected one of tiny, got ${JSON.stringify(model)}`);
    }
    const version = typeof which === 'string' ? ((await this.models())[0].labels as Labels)[which] : which;
    if (version === undefined) throw new ServiceError('label_not_found', `label: expected stable, got "${which}"`);
    const found = this.versions.find((v) => v.version === version);
    if (!found) throw new ServiceError('version_not_found', `version: expected one of 1, 2, got ${version}`);
    return found;
  }

  async setCurrent(model: string, version: number): Promise<Version> {
    const found = await this.get(model, version);
    this.current = version;
    return found;
  }

  async setLabel(model: string, label: string, version: number): Promise<Version> {
    const found = await this.get(model, version);
    this.labels.set(label, version);
    return found;
  }

  async removeLabel(model: string, label: string): Promise<void> {
    await this.get(model);
    if (!this.labels.delete(label)) throw new ServiceError('label_not_found', `the label "${label}" is not set`);
  }
}

type Labels = Record<string, number | undefined>;

/** Answers what it is told to, and remembers what it was asked. */
export class FakeService implements PredictionService {
  readonly requests: PredictRequest[] = [];
  answer: (request: PredictRequest) => Promise<PredictAnswer> = async () => fakeAnswer();
  resident: ResidentVariant[] = [];
  /** Turns requests away before their body is read. */
  full: ServiceError | null = null;

  inference: (request: InferRequest) => Promise<Inference> = async () => fakeInference();

  infer(request: InferRequest): Promise<Inference> {
    this.requests.push(request);
    return this.inference(request);
  }
  async answerWith<T>(request: InferRequest, word: (inference: Inference) => T): Promise<T> {
    return word(await this.infer(request));
  }
  predict(request: PredictRequest): Promise<PredictAnswer> {
    this.requests.push(request);
    return this.answer(request);
  }
  admits(): void {
    if (this.full) throw this.full;
  }
  load(): ServiceLoad {
    return { waiting: 3, running: 2, taken: 6, limit: 16, brownOut: 0.5, power: { milliwatts: 40, budget: 100 } };
  }
  variants(model?: string): ResidentVariant[] {
    return this.resident.filter((v) => model === undefined || v.model === model);
  }
  async dropVariants(model: string): Promise<{ dropped: number; bytes: number }> {
    if (model !== 'tiny') throw new ServiceError('model_not_found', `model: expected one of tiny, got "${model}"`);
    return { dropped: 2, bytes: 200 };
  }
  async warmUp(): Promise<void> {}
  async close(): Promise<void> {}
}

/** Logits of one instance of the tiny model. */
export function fakeInference(): Inference {
  return {
    version: tinyVersion,
    precision: { weightBits: 4, activationBits: 8 },
    batch: 1,
    logits: Float32Array.from(tinyVersion.manifest.labels, (_, i) => -i),
    cost: { energyUj: 2, memoryBytes: 100, expectedAccuracy: null },
    variant: { cached: false, buildMs: 1, engine: 'fake' },
    timing: { queueMs: 0, computeMs: 0.5 },
  };
}

export function fakeAnswer(): PredictAnswer {
  const top = [{ label: 'top', index: 0, probability: 0.9 }];
  return {
    model: 'tiny',
    version: 1,
    digest: tinyVersion.digest,
    bits: 4,
    activation_bits: 8,
    predictions: [{ ...top[0], top }],
    cost: { energy_uj: 2, memory_bytes: 100, expected_accuracy: null },
    variant: { cached: false, build_ms: 1, engine: 'fake' },
    timing_ms: { queue: 0, compute: 0.5 },
  };
}

/** One data set, `pets`; what is added is read to its end. */
export class FakeDatasets implements DatasetCatalog {
  async list() {
    return [{ name: 'pets', built_in: false, kind: 'images' as const, error: null }];
  }
  async add(name: string, archive: Readable) {
    let bytes = 0;
    for await (const chunk of archive) bytes += chunk.length;
    if (bytes === 0) throw new ServiceError('bad_archive', 'archive: expected one, got nothing');
    const examples = { train: 1, validation: 1, test: 1 };
    return { name, kind: 'images' as const, input_shape: [8, 8, 3], labels: ['a', 'b'], examples, skipped: null };
  }
  async remove(name: string) {
    if (name !== 'pets') throw new ServiceError('dataset_not_found', `no data set ${JSON.stringify(name)}`);
  }
}

/** Imports one thing, whatever it is told; archives are read to their end. */
export class FakeImporter implements ModelImporter {
  readonly requests: [path: string | null, calibration: string | null, ImportRequest][] = [];

  async fromFolder(path: string, calibration: string | null, request: ImportRequest) {
    this.requests.push([path, calibration, request]);
    return { version: tinyVersion, summary: { layers: { dense: 1 }, parameters: 51 } };
  }
  async fromArchive(archive: Readable, calibration: string | null, request: ImportRequest) {
    let bytes = 0;
    for await (const chunk of archive) bytes += chunk.length;
    if (bytes === 0) throw new ServiceError('bad_archive', 'archive: expected one, got nothing');
    return this.fromFolder(null as never, calibration, request);
  }
}

/** A queue in memory whose jobs move only when a test moves them. */
export class FakeQueue implements JobQueue {
  redis: RedisState = 'off';
  readonly jobs = new Map<string, Job>();
  readonly log = new Map<string, JobEvent[]>();
  /** Streams of events that are open. */
  open = 0;
  /** Events that streams have taken. */
  read = 0;
  #wake = new Set<() => void>();

  async submit(
    request: TrainRequest,
    idempotencyKey: string | null,
    origin: JobOrigin | null = null,
  ): Promise<{ job: Job; created: boolean }> {
    for (const job of this.jobs.values()) {
      if (idempotencyKey === null || job.idempotencyKey !== idempotencyKey) continue;
      if (job.requestHash === JSON.stringify(request)) return { job, created: false };
      throw new ServiceError('idempotency_key_reused', 'expected the request that first came with this key');
    }
    const id = `job-${this.jobs.size + 1}`;
    const progress = { phase: 'waiting', progress: 0, epoch: 0, epochs: request.epochs, step: 0, steps: 0 };
    this.jobs.set(id, {
      id,
      state: 'queued',
      request,
      idempotencyKey,
      requestHash: JSON.stringify(request),
      created_at: new Date().toISOString(),
      started_at: null,
      finished_at: null,
      attempts: 0,
      progress: { ...progress, loss: null, accuracy: null, norm_weights: null, norm_activations: null, eta_s: null },
      backend: null,
      result: null,
      error: null,
      origin,
    });
    this.log.set(id, []);
    this.move(id, 'queued');
    return { job: this.#job(id), created: true };
  }

  /** Puts a job into a state and writes the event. */
  move(id: string, state: JobState, type: JobEvent['type'] = 'state'): void {
    const job = this.#job(id);
    job.state = state;
    if (state === 'running') job.backend = 'fake';
    const events = this.log.get(id) ?? [];
    const { attempts, progress, result, error, backend } = job;
    const data = { id, state, attempts, progress: { ...progress }, result, error, backend };
    events.push({ id: events.length + 1, at: new Date().toISOString(), type, data });
    for (const wake of this.#wake) wake();
  }

  async get(id: string): Promise<Job> {
    return this.#job(id);
  }
  async list(): Promise<Job[]> {
    return [...this.jobs.values()].reverse();
  }
  async backend(): Promise<string | null> {
    return (await this.list()).find((job) => job.backend !== null)?.backend ?? null;
  }
  async cancel(id: string): Promise<Job> {
    const job = this.#job(id);
    if (this.#ended(job)) throw new ServiceError('job_finished', `the job has already ended: it is ${job.state}`);
    this.move(id, 'cancelled');
    return job;
  }

  async *events(id: string, afterId: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    this.open++;
    try {
      for (let at = afterId; !signal.aborted; ) {
        const next = this.log.get(id)?.[at];
        if (next) {
          at++;
          this.read++;
          yield next;
        } else if (this.#ended(this.#job(id))) return;
        else await this.#changed(signal);
      }
    } finally {
      this.open--;
    }
  }

  async counts(): Promise<Record<JobState, number>> {
    const counts = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
    for (const { state } of this.jobs.values()) counts[state]++;
    return counts;
  }
  async close(): Promise<void> {}

  #job(id: string): Job {
    const job = this.jobs.get(id);
    if (!job) throw new ServiceError('job_not_found', `job: expected the id of a job, got ${JSON.stringify(id)}`);
    return job;
  }
  #ended({ state }: Job): boolean {
    return state === 'succeeded' || state === 'failed' || state === 'cancelled';
  }
  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wake.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#wake.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
