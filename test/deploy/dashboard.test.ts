import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { PROJECT_ROOT } from '../../src/config.js';
import { DEFAULT_METRICS } from '../../src/http/plugins/default-metrics.js';
import { METRICS, type MetricEntry } from '../../src/http/plugins/metrics-table.js';

const KNOWN: Record<string, MetricEntry> = { ...METRICS, ...DEFAULT_METRICS };
/** Labels that Prometheus adds itself, and those of a histogram. */
const ADDED = ['job', 'instance', 'le'];

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { type: string; uid: string };
  targets?: { refId: string; expr: string }[];
}
interface Dashboard {
  uid: string;
  schemaVersion: number;
  panels: Panel[];
  templating: { list: { name: string; type: string; query: unknown }[] };
}

const read = (path: string) => readFileSync(join(PROJECT_ROOT, 'deploy', path), 'utf8');

/** Every metric of an expression is one of the tables', under a name that its type has, and so is every label. */
function assertKnown(expression: string): void {
  const names = expression.match(/\b(bitdial|nodejs|process)_\w+/g) ?? [];
  assert.ok(names.length > 0, `no metric in ${expression}`);
  const labels = [...ADDED];
  for (const name of names) {
    const base = name in KNOWN ? name : name.replace(/_(bucket|sum|count)$/, '');
    assert.ok(base in KNOWN, `${name} in ${expression} is not a metric of the service`);
    if (base !== name) assert.equal(KNOWN[base].type, 'histogram', `${name} in ${expression}`);
    else assert.notEqual(KNOWN[base].type, 'histogram', `${name} in ${expression}`);
    labels.push(...KNOWN[base].labels);
    const counts = KNOWN[base].type === 'counter' || base !== name;
    if (counts)
      assert.match(expression, new RegExp(`(rate|increase)\\(${name}[{[]`), 'what only grows is shown as a rate');
  }
  const selectors = [...expression.matchAll(/\{([^}]*)\}/g)].flatMap(([, s]) => s.match(/\w+(?=\s*[=!]~?")/g) ?? []);
  const groups = [...expression.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, s]) => s.split(/,\s*/));
  for (const label of [...selectors, ...groups]) assert.ok(labels.includes(label), `label ${label} in ${expression}`);
}

test('the dashboard is what its source makes, whole, and asks for metrics that are there', async () => {
  const text = read('grafana/bitdial.json');
  const source = pathToFileURL(join(PROJECT_ROOT, 'deploy/grafana/dashboard.mjs'));
  const { dashboard } = await import(source.href);
  assert.ok(text === `${JSON.stringify(dashboard(), null, 2)}\n`, 'out of date: run node deploy/grafana/dashboard.mjs');
  const { uid, schemaVersion, panels, templating } = JSON.parse(text) as Dashboard;
  assert.equal(uid, 'bitdial');
  assert.ok(schemaVersion >= 36, 'a data source is named by type and uid');
  const [datasource] = templating.list;
  assert.deepEqual([datasource.name, datasource.type, datasource.query], ['datasource', 'datasource', 'prometheus']);
  const variables = templating.list.map(({ name }) => name);

  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, 'ids are unique');
  const taken = new Map<string, string>();
  for (const { title, gridPos, type, targets = [], datasource: of } of panels) {
    assert.ok(gridPos.x >= 0 && gridPos.x + gridPos.w <= 24 && gridPos.w > 0 && gridPos.h > 0, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.equal(taken.get(`${x},${y}`), undefined, `${title} lies over ${taken.get(`${x},${y}`)}`);
        taken.set(`${x},${y}`, title);
      }
    }
    if (type === 'row') continue;
    assert.ok(['stat', 'timeseries'].includes(type) && targets.length > 0, title);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's
    assert.deepEqual(of, { type: 'prometheus', uid: '${datasource}' });
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
    for (const { expr } of targets) {
      assertKnown(expr);
      const used = [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name);
      for (const name of used) assert.ok([...variables, '__rate_interval'].includes(name), `$${name} in ${expr}`);
      assert.ok(used.includes('job') && used.includes('instance'), `${expr} is of the chosen replicas`);
    }
  }
});

test('alerts ask for metrics that are there', () => {
  const text = read('prometheus/alerts.yml');
  const rules = text.split(/^ {6}- alert: /m).slice(1);
  assert.ok(rules.length > 0);
  for (const rule of rules) {
    const [name] = rule.split('\n');
    const [, folded, plain] = /^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)/m.exec(rule) ?? [];
    const expression = (folded ?? plain).trim();
    if (expression.startsWith('up{')) continue;
    assertKnown(expression);
    assert.match(rule, /severity: (page|ticket)/, name);
    assert.match(rule, /summary: '/, name);
  }
});
