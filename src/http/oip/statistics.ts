/** Counts of what ran, by version, since the process started: the statistics extension. Fed by the service's observer. */
import type { ServingObserver } from '../../serving/request.js';

/** A number of times, and their sum in nanoseconds. */
export interface Duration {
  count: number;
  ns: number;
}

export interface BatchStatistics {
  batch_size: number;
  compute_input: Duration;
  compute_infer: Duration;
  compute_output: Duration;
}

export interface ModelStatistics {
  name: string;
  version: string;
  /** Milliseconds since the epoch; 0 before the first. */
  last_inference: number;
  /** Instances. */
  inference_count: number;
  /** Runs of the engine. */
  execution_count: number;
  /** Nothing caches answers here, so `cache_hit` and `cache_miss` stay at 0; resident variants have metrics of their own. */
  inference_stats: Record<(typeof KINDS)[number], Duration>;
  /** By size: `compute_infer` that of a run, `compute_input` and `compute_output` that of a request. */
  batch_stats: BatchStatistics[];
}

const KINDS = [
  'success',
  'fail',
  'queue',
  'compute_input',
  'compute_infer',
  'compute_output',
  'cache_hit',
  'cache_miss',
] as const;

type Stage = 'compute_input' | 'compute_infer' | 'compute_output';

/** Memory is bounded: an entry for each version that was asked, and in it one for each batch size. */
export class Statistics {
  /** Hand it to the prediction service, beside what else observes it. */
  readonly observer: ServingObserver = {
    onPrediction: (e) => {
      const entry = this.#of(e.model, e.version);
      entry.last_inference = Date.now();
      entry.inference_count += e.instances;
      const { inference_stats: stats } = entry;
      add(stats.success, e.totalMs);
      add(stats.queue, e.queueMs);
      add(stats.compute_input, e.inputMs);
      add(stats.compute_infer, e.computeMs);
      this.#batch(entry, e.instances, 'compute_input', e.inputMs);
    },
    onBatch: (e) => {
      const entry = this.#of(e.model, e.version);
      entry.execution_count++;
      this.#batch(entry, e.instances, 'compute_infer', e.computeMs);
    },
    onPredictionFailed: (e) => {
      const entry = this.#of(e.model, e.version);
      entry.last_inference = Date.now();
      add(entry.inference_stats.fail, e.totalMs);
    },
    onAnswer: (e) => {
      const entry = this.#of(e.model, e.version);
      add(entry.inference_stats.compute_output, e.outputMs);
      this.#batch(entry, e.instances, 'compute_output', e.outputMs);
    },
  };
  readonly #entries = new Map<string, ModelStatistics>();

  /** A copy; zeros for a version that was never asked. */
  get(model: string, version: number): ModelStatistics {
    const entry = this.#entries.get(`${model}:${version}`) ?? empty(model, version);
    const batches = [...entry.batch_stats].sort((a, b) => a.batch_size - b.batch_size);
    return structuredClone({ ...entry, batch_stats: batches });
  }

  #of(model: string, version: number): ModelStatistics {
    const key = `${model}:${version}`;
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = empty(model, version);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #batch(entry: ModelStatistics, size: number, stage: Stage, ms: number): void {
    let batch = entry.batch_stats.find(({ batch_size }) => batch_size === size);
    if (!batch) {
      batch = { batch_size: size, compute_input: none(), compute_infer: none(), compute_output: none() };
      entry.batch_stats.push(batch);
    }
    add(batch[stage], ms);
  }
}

/** One observer that tells each of several. */
export function tellAll(...observers: ServingObserver[]): ServingObserver {
  const names = new Set(observers.flatMap((observer) => Object.keys(observer) as (keyof ServingObserver)[]));
  const entries = [...names].map((name) => {
    const told = observers.flatMap((observer) => observer[name] ?? []) as ((event: never) => void)[];
    return [name, (event: never) => told.forEach((tell) => void tell(event))];
  });
  return Object.fromEntries(entries) as ServingObserver;
}

function empty(model: string, version: number): ModelStatistics {
  return {
    name: model,
    version: String(version),
    last_inference: 0,
    inference_count: 0,
    execution_count: 0,
    inference_stats: Object.fromEntries(KINDS.map((kind) => [kind, none()])) as ModelStatistics['inference_stats'],
    batch_stats: [],
  };
}

function none(): Duration {
  return { count: 0, ns: 0 };
}

function add(duration: Duration, ms: number): void {
  duration.count++;
  duration.ns += Math.round(ms * 1e6);
}
