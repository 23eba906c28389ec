/** Every metric of the service: type, labels, meaning. docs/METRICS.md is generated from this table. */

export interface MetricEntry {
  type: 'counter' | 'gauge' | 'histogram';
  labels: readonly string[];
  help: string;
  /** When its value changes. */
  moves: string;
  /** Of a histogram, in its unit. */
  buckets?: readonly number[];
}

const precision = ['model', 'bits', 'activation_bits'] as const;
/** From one small integer inference to a long upload, in seconds. */
const LATENCY = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] as const;
const COMPUTE = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5] as const;
const BATCH = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096] as const;
const BUILD = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30] as const;

export const METRICS = {
  bitdial_requests_total: {
    type: 'counter',
    labels: ['method', 'route', 'status', 'code', 'bits'],
    help: 'Requests answered; code is ok or the code of the problem, bits those that answered or were asked for',
    moves: 'when an answer has been sent whole',
  },
  bitdial_request_seconds: {
    type: 'histogram',
    labels: ['route', 'status'],
    buckets: LATENCY,
    help: 'From the first byte of the request to the last of the answer (event streams are not counted)',
    moves: 'when an answer has been sent whole',
  },
  bitdial_requests_in_flight: {
    type: 'gauge',
    labels: [],
    help: 'Requests being read or answered now',
    moves: 'up with a request’s head, down when its answer is sent or its connection gone',
  },
  bitdial_instances_total: {
    type: 'counter',
    labels: precision,
    help: 'Instances predicted',
    moves: 'with each prediction that ran, by its instances',
  },
  bitdial_compute_seconds: {
    type: 'histogram',
    labels: ['bits', 'activation_bits'],
    buckets: COMPUTE,
    help: 'Compute time of the run that a prediction request was part of, all instances together',
    moves: 'with each prediction that ran',
  },
  bitdial_queue_seconds: {
    type: 'histogram',
    labels: [],
    buckets: COMPUTE,
    help: 'Time that a prediction request waited for the engine, and for others to share its run',
    moves: 'with each prediction that ran',
  },
  bitdial_batch_instances: {
    type: 'histogram',
    labels: ['bits', 'activation_bits'],
    buckets: BATCH,
    help: 'Instances of one run of the engine, of one request or several',
    moves: 'with each run of the engine',
  },
  bitdial_batched_requests_total: {
    type: 'counter',
    labels: [],
    help: 'Prediction requests that shared a run of the engine with others',
    moves: 'with each run that two requests or more share, by their number',
  },
  bitdial_queue_instances: {
    type: 'gauge',
    labels: ['state'],
    help: 'Instances now: waiting for the engine, running in it, or taken in and not answered yet (these and the others)',
    moves: 'read at each scrape',
  },
  bitdial_queue_limit_instances: {
    type: 'gauge',
    labels: [],
    help: 'MAX_QUEUE, which bounds those taken in',
    moves: 'never',
  },
  bitdial_buffered_bytes: {
    type: 'gauge',
    labels: [],
    help: 'Bytes of the bodies that are being read, announced ones whole, or belong to a request without its answer',
    moves: 'read at each scrape',
  },
  bitdial_buffered_limit_bytes: { type: 'gauge', labels: [], help: 'MAX_BUFFERED_BYTES', moves: 'never' },
  bitdial_rejected_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Prediction requests not answered: overload, bodies (no room for one), power (budget), deadline, or disconnect of the client',
    moves: 'with each such request',
  },
  bitdial_degraded_total: {
    type: 'counter',
    labels: ['model', 'reason'],
    help: 'Predictions whose bits were lowered, by reason: overload or power',
    moves: 'with each such prediction',
  },
  bitdial_brown_out: {
    type: 'gauge',
    labels: [],
    help: 'How far bits are lowered under load now, 0 to 1 (as far as is allowed)',
    moves: 'read at each scrape',
  },
  bitdial_power_watts: {
    type: 'gauge',
    labels: [],
    help: 'Modelled average power of the answered inferences over the last 10 s, where POWER_BUDGET_MW is set',
    moves: 'read at each scrape',
  },
  bitdial_power_budget_watts: {
    type: 'gauge',
    labels: [],
    help: 'POWER_BUDGET_MW; 0 where none is set',
    moves: 'never',
  },
  bitdial_evaluated_instances_total: {
    type: 'counter',
    labels: ['model'],
    help: 'Instances predicted at a precision whose accuracy the version has measured',
    moves: 'with each prediction that ran',
  },
  bitdial_expected_correct_total: {
    type: 'counter',
    labels: ['model'],
    help: 'Those of them that are right, by that accuracy: the ratio of the two is the accuracy that is served',
    moves: 'with each prediction that ran',
  },
  bitdial_energy_joules_total: {
    type: 'counter',
    labels: precision,
    help: 'Energy of the predictions by the energy table: a model of a chip, not a measurement',
    moves: 'with each prediction that ran',
  },
  bitdial_variant_builds_total: {
    type: 'counter',
    labels: precision,
    help: 'Variants built',
    moves: 'when a variant has been built',
  },
  bitdial_variant_build_seconds: {
    type: 'histogram',
    labels: [],
    buckets: BUILD,
    help: 'Time to build one variant',
    moves: 'when a variant has been built',
  },
  bitdial_variant_hits_total: {
    type: 'counter',
    labels: ['model'],
    help: 'Requests that found their variant resident',
    moves: 'when a request takes a variant',
  },
  bitdial_variant_evictions_total: {
    type: 'counter',
    labels: ['model', 'reason'],
    help: 'Variants that left the cache; reason is space or dropped',
    moves: 'when a variant is let go',
  },
  bitdial_variant_cache_bytes: {
    type: 'gauge',
    labels: [],
    help: 'Bytes of all resident variants',
    moves: 'read at each scrape',
  },
  bitdial_variant_cache_limit_bytes: { type: 'gauge', labels: [], help: 'VARIANT_CACHE_BYTES', moves: 'never' },
  bitdial_variants: { type: 'gauge', labels: [], help: 'Resident variants', moves: 'read at each scrape' },
  bitdial_jobs: {
    type: 'gauge',
    labels: ['state'],
    help: 'Training jobs by state; with Redis those of all replicas, from each',
    moves: 'read at each scrape',
  },
  bitdial_redis_up: {
    type: 'gauge',
    labels: [],
    help: '1 while the Redis server of REDIS_URL answers, else 0; not there without one',
    moves: 'read at each scrape',
  },
  bitdial_ready: {
    type: 'gauge',
    labels: [],
    help: '1 once the default variant has answered its warm-up, else 0',
    moves: 'read at each scrape',
  },
} as const satisfies Record<string, MetricEntry>;

export type MetricName = keyof typeof METRICS;
