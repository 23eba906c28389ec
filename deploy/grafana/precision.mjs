import { IT, mean, quantile, rate, ratio, sum } from './queries.mjs';

/** At how many bits it is answered, by what engine work. */
export const PRECISION = [
  [
    'Precision, energy, accuracy',
    [
      {
        title: 'Instances by weight bits',
        unit: 'percent',
        stack: 'percent',
        queries: [[sum('bits', rate('bitdial_instances_total')), '{{bits}} bits']],
      },
      {
        title: 'Instances per second',
        unit: 'cps',
        stack: 'normal',
        queries: [[sum('model', rate('bitdial_instances_total')), '{{model}}']],
      },
      {
        title: 'Accuracy that is served',
        unit: 'percentunit',
        text: 'Expected, by the precision tables of the versions; precisions that were never measured are left out.',
        queries: [
          [
            ratio(
              sum('model', rate('bitdial_expected_correct_total')),
              sum('model', rate('bitdial_evaluated_instances_total')),
            ),
            '{{model}}',
          ],
        ],
      },
      {
        title: 'Energy per second, modelled',
        unit: 'watt',
        stack: 'normal',
        text: 'Joules by the energy table in force: a model of a chip, not a measurement.',
        queries: [[sum('bits', rate('bitdial_energy_joules_total')), '{{bits}} bits']],
      },
      {
        title: 'Energy of one instance, modelled',
        unit: 'joule',
        queries: [
          [
            ratio(
              sum('model, bits', rate('bitdial_energy_joules_total')),
              sum('model, bits', rate('bitdial_instances_total')),
            ),
            '{{model}}, {{bits}} bits',
          ],
        ],
      },
      {
        title: 'Power and its budget',
        unit: 'watt',
        text: 'Where POWER_BUDGET_MW is set: the average over 10 s that the service steers by, of each replica.',
        queries: [
          [`bitdial_power_watts{${IT}}`, '{{instance}}'],
          [`max(bitdial_power_budget_watts{${IT}} > 0)`, 'budget'],
        ],
      },
      {
        title: 'Bits lowered, by reason',
        unit: 'reqps',
        stack: 'normal',
        queries: [[sum('reason', rate('bitdial_degraded_total')), '{{reason}}']],
      },
      {
        title: 'Brown-out',
        unit: 'percentunit',
        text: 'How far bits are lowered under load now.',
        queries: [[`bitdial_brown_out{${IT}}`, '{{instance}}']],
      },
    ],
  ],
  [
    'Engine',
    [
      {
        title: 'Compute time by weight bits, 90th percentile',
        unit: 's',
        queries: [[quantile(0.9, 'bitdial_compute_seconds', 'bits'), '{{bits}} bits']],
      },
      {
        title: 'Compute time by weight bits, mean',
        unit: 's',
        queries: [[mean('bitdial_compute_seconds', 'bits'), '{{bits}} bits']],
      },
      {
        title: 'Wait for the engine',
        unit: 's',
        queries: [0.5, 0.9, 0.99].map((q) => [quantile(q, 'bitdial_queue_seconds'), `p${q * 100}`]),
      },
      {
        title: 'Instances of a run, mean',
        unit: 'none',
        queries: [[mean('bitdial_batch_instances', 'bits'), '{{bits}} bits']],
      },
      {
        title: 'Instances taken in',
        unit: 'none',
        queries: [
          [sum('state', `bitdial_queue_instances{${IT}}`), '{{state}}'],
          [`sum(bitdial_queue_limit_instances{${IT}})`, 'limit'],
        ],
      },
      {
        title: 'Requests that shared a run',
        unit: 'reqps',
        queries: [[sum('', rate('bitdial_batched_requests_total')), 'shared']],
      },
    ],
  ],
];
