/** Counts what happens: HTTP requests by hooks, serving by the observer it is given, jobs and cache when scraped. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { JobQueue } from '../../jobs/job.js';
import type { PredictionService, ServiceLoad, ServingObserver } from '../../serving/request.js';
import type { App } from '../types.js';
import { METRICS, type MetricEntry, type MetricName } from './metrics-table.js';
import type { Readiness } from './readiness.js';
import { urlName } from './route-url.js';

/** What is asked at every scrape. */
export interface MetricSources {
  /** Not in a process that only trains. */
  service?: Pick<PredictionService, 'variants' | 'load'>;
  queue: Pick<JobQueue, 'counts' | 'redis'>;
  readiness: Readiness;
  variantCacheBytes: number;
  /** Of bodies; not in a process that only trains. */
  buffered?: { bytes: number; max: number };
}

/** What the observer is told. */
type Told<K extends keyof ServingObserver> = Parameters<NonNullable<ServingObserver[K]>>[0];

/** What happens at every request is counted so much at a time: one by one, each count takes several times as long. */
const GATHERED = 64;

/** One registry for each app, made before the service so that the service can be given the observer. */
export class Metrics {
  readonly registry = new Registry();
  /** Hand it to the prediction service. */
  readonly observer: ServingObserver;
  readonly #all = new Map<MetricName, Counter | Gauge | Histogram>();
  readonly #gathered: (() => void)[] = [];
  #sources: MetricSources | undefined;

  constructor() {
    for (const [name, entry] of Object.entries(METRICS) as [MetricName, MetricEntry][]) {
      const options = { name, help: entry.help, labelNames: [...entry.labels], registers: [this.registry] };
      if (entry.type === 'counter') this.#all.set(name, new Counter(options));
      else if (entry.type === 'gauge') this.#all.set(name, new Gauge(options));
      else this.#all.set(name, new Histogram({ ...options, buckets: [...(entry.buckets ?? [])] }));
    }
    collectDefaultMetrics({ register: this.registry });
    this.observer = this.#observe();
  }

  /** Gauges are read from these when `text` is asked for. */
  watch(sources: MetricSources): void {
    this.#sources = sources;
  }

  /** The Prometheus exposition. */
  async text(): Promise<string> {
    await this.#bringUpToDate();
    return this.registry.metrics();
  }

  /** The same as values, for another way out. */
  async snapshot(): ReturnType<Registry['getMetricsAsJSON']> {
    await this.#bringUpToDate();
    return this.registry.getMetricsAsJSON();
  }

  onRequestStart(): void {
    this.#gauge('bitdial_requests_in_flight').inc();
  }

  onRequestEnd(): void {
    this.#gauge('bitdial_requests_in_flight').dec();
  }

  countRefusedBody(): void {
    this.#counter('bitdial_rejected_total').inc({ reason: 'bodies' });
  }

  countRequest(request: FastifyRequest, reply: FastifyReply): void {
    // the route's pattern, never the path: a client must not be able to add label values
    const route = urlName(request.routeOptions?.url ?? 'unmatched');
    const status = String(reply.statusCode);
    const { code = 'ok', bits = '' } = request.facts ?? {};
    const method = request.routeOptions?.url ? request.method : 'any';
    const seconds = reply.elapsedTime / 1000;
    this.#count(() => {
      this.#counter('bitdial_requests_total').inc({ method, route, status, code, bits: String(bits) });
      if (!route.endsWith('/events')) this.#histogram('bitdial_request_seconds').observe({ route, status }, seconds);
    });
  }

  #observe(): ServingObserver {
    return {
      onPrediction: (e) => this.#count(() => this.#countPrediction(e)),
      onBatch: (e) => this.#count(() => this.#countBatch(e)),
      onRejected: ({ reason }) => this.#counter('bitdial_rejected_total').inc({ reason }),
      onVariantBuilt: (e) => {
        const labels = { model: e.model, bits: String(e.bits), activation_bits: String(e.activationBits) };
        this.#counter('bitdial_variant_builds_total').inc(labels);
        this.#histogram('bitdial_variant_build_seconds').observe(e.buildMs / 1000);
      },
      onVariantHit: ({ model }) => this.#count(() => this.#counter('bitdial_variant_hits_total').inc({ model })),
      onVariantEvicted: (e) =>
        this.#counter('bitdial_variant_evictions_total').inc({ model: e.model, reason: e.reason }),
    };
  }

  #countPrediction(e: Told<'onPrediction'>): void {
    const labels = { model: e.model, bits: String(e.bits), activation_bits: String(e.activationBits) };
    const { bits, activation_bits } = labels;
    this.#counter('bitdial_instances_total').inc(labels, e.instances);
    this.#counter('bitdial_energy_joules_total').inc(labels, e.energyUj / 1e6);
    if (e.expectedAccuracy !== null) {
      this.#counter('bitdial_evaluated_instances_total').inc({ model: e.model }, e.instances);
      this.#counter('bitdial_expected_correct_total').inc({ model: e.model }, e.expectedAccuracy * e.instances);
    }
    this.#histogram('bitdial_compute_seconds').observe({ bits, activation_bits }, e.computeMs / 1000);
    this.#histogram('bitdial_queue_seconds').observe(e.queueMs / 1000);
    if (e.degraded) this.#counter('bitdial_degraded_total').inc({ model: e.model, reason: e.degraded });
  }

  #countBatch(e: Told<'onBatch'>): void {
    const labels = { bits: String(e.bits), activation_bits: String(e.activationBits) };
    this.#histogram('bitdial_batch_instances').observe(labels, e.instances);
    if (e.requests > 1) this.#counter('bitdial_batched_requests_total').inc(e.requests);
  }

  #count(count: () => void): void {
    if (this.#gathered.push(count) >= GATHERED) this.#countGathered();
  }

  #countGathered(): void {
    for (const count of this.#gathered.splice(0)) count();
  }

  async #bringUpToDate(): Promise<void> {
    if (this.#sources) await this.#collect(this.#sources);
    this.#countGathered();
  }

  async #collect({ service, queue, readiness, variantCacheBytes, buffered }: MetricSources): Promise<void> {
    const variants = service?.variants() ?? [];
    this.#gauge('bitdial_variants').set(variants.length);
    this.#gauge('bitdial_variant_cache_bytes').set(variants.reduce((sum, v) => sum + v.memory_bytes, 0));
    this.#gauge('bitdial_variant_cache_limit_bytes').set(variantCacheBytes);
    if (service) this.#collectLoad(service.load());
    this.#gauge('bitdial_buffered_bytes').set(buffered?.bytes ?? 0);
    this.#gauge('bitdial_buffered_limit_bytes').set(buffered?.max ?? 0);
    this.#gauge('bitdial_ready').set(readiness.state === 'ready' ? 1 : 0);
    if (queue.redis === 'off') this.#gauge('bitdial_redis_up').remove();
    else this.#gauge('bitdial_redis_up').set(queue.redis === 'up' ? 1 : 0);
    // rather nothing than what held before Redis was gone
    this.#gauge('bitdial_jobs').reset();
    const counts = await queue.counts().catch(() => ({}));
    for (const [state, n] of Object.entries(counts)) this.#gauge('bitdial_jobs').set({ state }, n);
  }

  #collectLoad({ waiting, running, taken, limit, brownOut, power }: ServiceLoad): void {
    for (const [state, n] of Object.entries({ waiting, running, taken }))
      this.#gauge('bitdial_queue_instances').set({ state }, n);
    this.#gauge('bitdial_queue_limit_instances').set(limit);
    this.#gauge('bitdial_brown_out').set(brownOut);
    this.#gauge('bitdial_power_watts').set((power?.milliwatts ?? 0) / 1000);
    this.#gauge('bitdial_power_budget_watts').set((power?.budget ?? 0) / 1000);
  }

  #counter(name: MetricName): Counter {
    return this.#all.get(name) as Counter;
  }
  #gauge(name: MetricName): Gauge {
    return this.#all.get(name) as Gauge;
  }
  #histogram(name: MetricName): Histogram {
    return this.#all.get(name) as Histogram;
  }
}

export function requestMetrics(app: App, metrics: Metrics): void {
  app.addHook('onRequest', async (_request, reply) => {
    metrics.onRequestStart();
    // `close` comes once for each response, also for one that its client did not wait for
    reply.raw.once('close', () => metrics.onRequestEnd());
  });
  app.addHook('onResponse', async (request, reply) => metrics.countRequest(request, reply));
}
