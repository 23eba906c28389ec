/**
 * Writes bitdial.json, the Grafana dashboard (classic model, for Grafana 10.4 and later).
 *
 *   node deploy/grafana/dashboard.mjs
 *
 * Rows of panels stand in traffic.mjs, precision.mjs and upkeep.mjs: a panel is a title, a kind, a unit and its queries, `[expression,
 * legend]`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { PRECISION } from './precision.mjs';
import { TRAFFIC } from './traffic.mjs';
import { UPKEEP } from './upkeep.mjs';

// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
/** Rows of panels; a stat is 4 wide and 4 high, anything else 8 and 8. */
const ROWS = [...TRAFFIC, ...PRECISION, ...UPKEEP];

/** The dashboard as Grafana imports it. */
export function dashboard() {
  const panels = [];
  let y = 0;
  for (const [title, row] of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: 24, h: 1 },
    });
    y++;
    let x = 0;
    let h = 0;
    for (const panel of row) {
      const size = panel.kind === 'stat' ? { w: 4, h: 4 } : { w: 8, h: 8 };
      if (x + size.w > 24) [x, y] = [0, y + h];
      h = size.h;
      panels.push({ id: panels.length + 1, ...drawn(panel), gridPos: { x, y, ...size } });
      x += size.w;
    }
    y += h;
  }
  return {
    uid: 'bitdial',
    title: 'bitdial',
    description:
      'A model server whose precision is a dial: what is asked, at how many bits it is answered, and what that costs.',
    tags: ['bitdial'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    time: { from: 'now-1h', to: 'now' },
    refresh: '30s',
    timezone: 'browser',
    annotations: { list: [] },
    links: [],
    templating: {
      list: [
        {
          name: 'datasource',
          label: 'Data source',
          type: 'datasource',
          query: 'prometheus',
          hide: 0,
          refresh: 1,
          regex: '',
          options: [],
          multi: false,
          includeAll: false,
        },
        choice('job', 'Job', 'label_values(bitdial_ready, job)'),
        choice('instance', 'Replica', 'label_values(bitdial_ready{job=~"$job"}, instance)'),
      ],
    },
    panels,
  };
}

/** A variable with the values of a label, all of them unless some are chosen. */
function choice(name, label, query) {
  const current = { selected: true, text: ['All'], value: ['$__all'] };
  const all = { multi: true, includeAll: true, allValue: '.*' };
  return {
    name,
    label,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    hide: 0,
    refresh: 2,
    regex: '',
    sort: 1,
    options: [],
    current,
    ...all,
  };
}

function drawn({ title, text = '', kind = 'timeseries', unit, stack = 'none', queries }) {
  const targets = queries.map(([expr, legendFormat], i) => ({
    refId: String.fromCharCode(65 + i),
    datasource: DATASOURCE,
    editorMode: 'code',
    expr,
    legendFormat: legendFormat || '__auto',
    range: true,
  }));
  const common = { type: kind, title, description: text, datasource: DATASOURCE, targets };
  const color = { mode: kind === 'stat' ? 'thresholds' : 'palette-classic' };
  const thresholds = { mode: 'absolute', steps: [{ color: 'green', value: null }] };
  if (kind === 'stat') {
    const reduceOptions = { calcs: ['lastNotNull'], fields: '', values: false };
    const options = {
      reduceOptions,
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
      orientation: 'auto',
      textMode: 'auto',
    };
    return { ...common, options, fieldConfig: { defaults: { unit, color, thresholds }, overrides: [] } };
  }
  const custom = {
    drawStyle: 'line',
    lineWidth: 1,
    fillOpacity: stack === 'none' ? 0 : 30,
    showPoints: 'never',
    spanNulls: false,
    stacking: { mode: stack, group: 'A' },
  };
  const options = {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: 'multi', sort: 'desc' },
  };
  return { ...common, options, fieldConfig: { defaults: { unit, min: 0, color, thresholds, custom }, overrides: [] } };
}

const FILE = new URL('./bitdial.json', import.meta.url);

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const text = `${JSON.stringify(dashboard(), null, 2)}\n`;
  writeFileSync(FILE, text);
  console.log(`${JSON.parse(readFileSync(FILE, 'utf8')).panels.length} panels`);
}
