import { IT, PREDICTS, quantile, rate, ratio, sum } from './queries.mjs';

/** What is asked, and what becomes of it. */
export const TRAFFIC = [
  [
    'At a glance',
    [
      { title: 'Replicas that are ready', kind: 'stat', unit: 'none', queries: [[`sum(bitdial_ready{${IT}})`, '']] },
      {
        title: 'Requests per second',
        kind: 'stat',
        unit: 'reqps',
        queries: [[sum('', rate('bitdial_requests_total')), '']],
      },
      {
        title: 'Errors of the service',
        kind: 'stat',
        unit: 'percentunit',
        text: '5xx answers other than 503 and 507, of all answers.',
        queries: [
          [
            `(${sum('', rate('bitdial_requests_total', 'status=~"5..", status!~"503|507"'))} or vector(0)) / ${sum('', rate('bitdial_requests_total'))}`,
            '',
          ],
        ],
      },
      {
        title: 'Predictions, 99th percentile',
        kind: 'stat',
        unit: 's',
        queries: [[quantile(0.99, 'bitdial_request_seconds', '', PREDICTS), '']],
      },
      {
        title: 'Accuracy that is served',
        kind: 'stat',
        unit: 'percentunit',
        text: 'Expected: by the precision tables of the versions, over the instances answered.',
        queries: [
          [
            ratio(sum('', rate('bitdial_expected_correct_total')), sum('', rate('bitdial_evaluated_instances_total'))),
            '',
          ],
        ],
      },
      {
        title: 'Power, modelled',
        kind: 'stat',
        unit: 'watt',
        queries: [[sum('', rate('bitdial_energy_joules_total')), '']],
      },
    ],
  ],
  [
    'Requests',
    [
      {
        title: 'Requests by status',
        unit: 'reqps',
        stack: 'normal',
        queries: [[sum('status', rate('bitdial_requests_total')), '{{status}}']],
      },
      {
        title: 'Problems by code',
        unit: 'reqps',
        stack: 'normal',
        queries: [[sum('code', rate('bitdial_requests_total', 'code!="ok"')), '{{code}}']],
      },
      {
        title: 'Latency of predictions',
        unit: 's',
        text: 'All protocols, from the first byte of the request to the last of the answer.',
        queries: [0.5, 0.9, 0.99].map((q) => [quantile(q, 'bitdial_request_seconds', '', PREDICTS), `p${q * 100}`]),
      },
      {
        title: 'Requests by route',
        unit: 'reqps',
        stack: 'normal',
        queries: [[sum('route', rate('bitdial_requests_total')), '{{route}}']],
      },
      { title: 'Requests in flight', unit: 'none', queries: [[`bitdial_requests_in_flight{${IT}}`, '{{instance}}']] },
      {
        title: 'Not answered, by reason',
        unit: 'reqps',
        stack: 'normal',
        text: 'Predictions turned away (overload, no room for bodies, power) or given up (deadline, disconnect).',
        queries: [[sum('reason', rate('bitdial_rejected_total')), '{{reason}}']],
      },
    ],
  ],
];
