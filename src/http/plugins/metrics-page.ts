import { unitOf } from '../../telemetry/metric-unit.js';
import { DEFAULT_METRICS } from './default-metrics.js';
import { METRICS, type MetricEntry } from './metrics-table.js';

/** docs/METRICS.md. */
export function metricsPage(): string {
  return `# Metrics

\`GET /metrics\` speaks the Prometheus text format; OpenTelemetry's variables push the same ([OBSERVABILITY.md](OBSERVABILITY.md)).
\`bits\` and \`activation_bits\` are widths, \`route\` is a pattern, never a path: no client can make a label. Counters begin at 0 with the
process. A histogram is three series: \`_bucket\` with the label \`le\`, \`_sum\` and \`_count\`.

## Of the service

${table(METRICS)}

## Of the process and Node

Collected by prom-client at each scrape; some only on Linux.

${table(DEFAULT_METRICS)}

This page is generated from \`metrics-table.ts\` and \`default-metrics.ts\` in \`src/http/plugins\` by \`npm run docs\`.
`;
}

function table(metrics: Record<string, MetricEntry>): string {
  const rows = Object.entries(metrics).map(([name, { type, labels, help, moves }]) => {
    return `| \`${name}\` | ${type} | ${unitOf(name).word || '–'} | ${labels.join(', ') || '–'} | ${help} | ${moves} |`;
  });
  return `| name | type | unit | labels | meaning | moves |\n|---|---|---|---|---|---|\n${rows.join('\n')}`;
}
