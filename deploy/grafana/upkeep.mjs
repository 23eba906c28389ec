import { IT, quantile, rate, sum } from './queries.mjs';

/** What the service keeps and does besides. */
export const UPKEEP = [
  [
    'Variant cache',
    [
      {
        title: 'Bytes of resident variants',
        unit: 'bytes',
        queries: [
          [`bitdial_variant_cache_bytes{${IT}}`, '{{instance}}'],
          [`max(bitdial_variant_cache_limit_bytes{${IT}})`, 'limit of each'],
        ],
      },
      {
        title: 'Hits, builds, evictions',
        unit: 'ops',
        queries: [
          [sum('', rate('bitdial_variant_hits_total')), 'hits'],
          [sum('', rate('bitdial_variant_builds_total')), 'builds'],
          [sum('reason', rate('bitdial_variant_evictions_total')), 'evictions: {{reason}}'],
        ],
      },
      { title: 'Resident variants', unit: 'none', queries: [[`bitdial_variants{${IT}}`, '{{instance}}']] },
      {
        title: 'Builds by weight bits',
        unit: 'ops',
        stack: 'normal',
        queries: [[sum('bits', rate('bitdial_variant_builds_total')), '{{bits}} bits']],
      },
      {
        title: 'Time to build a variant',
        unit: 's',
        queries: [0.5, 0.99].map((q) => [quantile(q, 'bitdial_variant_build_seconds'), `p${q * 100}`]),
      },
    ],
  ],
  [
    'Trainings',
    [
      {
        title: 'Jobs by state',
        unit: 'none',
        text: 'With Redis every replica tells the same of all jobs; without, this shows the replica that has the most.',
        queries: [[`max by (state) (bitdial_jobs{${IT}})`, '{{state}}']],
      },
      {
        title: 'Redis',
        unit: 'none',
        text: '1 while it answers; nothing where REDIS_URL is not set.',
        queries: [[`bitdial_redis_up{${IT}}`, '{{instance}}']],
      },
    ],
  ],
  [
    'Process',
    [
      {
        title: 'Event loop: delay of a timer of 10 ms',
        unit: 's',
        queries: [
          [`max(nodejs_eventloop_lag_p50_seconds{${IT}})`, 'p50'],
          [`max(nodejs_eventloop_lag_p99_seconds{${IT}})`, 'p99'],
          [`max(nodejs_eventloop_lag_max_seconds{${IT}})`, 'max'],
        ],
      },
      {
        title: 'Memory',
        unit: 'bytes',
        queries: [
          [`process_resident_memory_bytes{${IT}}`, 'resident, {{instance}}'],
          [`nodejs_heap_size_used_bytes{${IT}}`, 'heap, {{instance}}'],
          [`nodejs_external_memory_bytes{${IT}}`, 'external, {{instance}}'],
          [`bitdial_buffered_bytes{${IT}}`, 'bodies, {{instance}}'],
        ],
      },
      { title: 'Cores used', unit: 'none', queries: [[rate('process_cpu_seconds_total'), '{{instance}}']] },
      {
        title: 'Time in garbage collection',
        unit: 'percentunit',
        stack: 'normal',
        queries: [[sum('kind', rate('nodejs_gc_duration_seconds_sum')), '{{kind}}']],
      },
      { title: 'Open file descriptors', unit: 'none', queries: [[`process_open_fds{${IT}}`, '{{instance}}']] },
    ],
  ],
];
