/** Accuracy against bits as an SVG: a panel for each study and quantiser, a line for each method. */
import { BASE, METHOD_NAMES } from './methods.js';
import { publishedFor } from './published.js';
import type { QuantizerName, RunRecord } from './record.js';
import { type Row, summarise, titleOf } from './summary.js';

const PANEL = { width: 430, height: 300, left: 52, right: 14, top: 40, bottom: 44 };
const LEGEND = { columns: 3, line: 22, top: 12 };
/** Positions on the axis of bits, equal for weights and activations; float stands apart. */
const PLACES: [key: string, label: string, at: number][] = [
  ['2x2', '2', 2],
  ['3x3', '3', 3],
  ['4x4', '4', 4],
  ['5x5', '5', 5],
  ['6x6', '6', 6],
  ['8x8', '8', 8],
  ['32x32', 'float', 9.2],
];
const [FIRST, LAST] = [1.7, 9.5];
const QUANTIZERS: [QuantizerName, string][] = [
  ['min-max', 'per-tensor min-max'],
  ['ours', 'our quantiser'],
];

interface Stroke {
  colour: string;
  dash?: string;
}
/** Colours that colour-blind readers tell apart (Okabe and Ito); dashes for those of a kind. */
const STROKES: Record<string, Stroke> = {
  plain: { colour: '#000000' },
  'gradient-l1-weak': { colour: '#0072b2', dash: '2 3' },
  'gradient-l1-medium': { colour: '#0072b2', dash: '7 3' },
  'gradient-l1-strong': { colour: '#0072b2' },
  kurtosis: { colour: '#e69f00' },
  'any-width': { colour: '#009e73' },
  'gradient-l1+kurtosis': { colour: '#e69f00', dash: '7 3' },
  'gradient-l1+any-width': { colour: '#009e73', dash: '7 3' },
  'qat-4': { colour: '#cc79a7' },
};
const OTHER: Stroke = { colour: '#888888', dash: '1 3' };

/** @param studies records of each, none of them empty */
export function accuracyChart(studies: readonly (readonly RunRecord[])[]): string {
  const methods = METHOD_NAMES.filter((name) => studies.some((records) => records.some((r) => r.method === name)));
  const width = PANEL.width * QUANTIZERS.length;
  const legendTop = PANEL.height * studies.length + LEGEND.top;
  const entries = methods.map((name): LegendEntry => ({ title: titleOf(name), stroke: STROKES[name] ?? OTHER }));
  const marked = studies.some(([{ dataset }]) => QUANTIZERS.some(([name]) => publishedFor(dataset, name).length > 0));
  if (marked) entries.push({ title: 'published, see the tables', stroke: null });
  const height = legendTop + LEGEND.line * Math.ceil(entries.length / LEGEND.columns) + 8;
  const panels = studies.flatMap((records, row) =>
    QUANTIZERS.map(([quantizer, title], column) => {
      const heading = `${records[0].net}, ${title}`;
      return group(
        PANEL.width * column,
        PANEL.height * row,
        panel(heading, summarise(records, quantizer), published(records[0].dataset, quantizer)),
      );
    }),
  );
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<title>Accuracy on the test set against bits of weights and activations</title>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...panels,
    group(
      0,
      legendTop,
      entries.map((entry, i) => legendEntry(entry, i, width)),
    ),
    '</svg>',
  ].join('\n')}\n`;
}

function panel(heading: string, rows: Row[], marks: Mark[]): string[] {
  const shown = rows.filter(({ method, seeds }) => method !== BASE && seeds.length > 0);
  const values = [
    ...shown.flatMap(({ cells }) => PLACES.flatMap(([key]) => (cells[key] ? [cells[key].mean] : []))),
    ...marks.map(({ value }) => value),
  ];
  // Without values there is nothing but the axes.
  const least = values.length > 0 ? Math.min(...values) : 0;
  const step = least >= 50 ? 10 : 20;
  const low = step * Math.floor(least / step);
  const x = (at: number) =>
    round(PANEL.left + ((at - FIRST) / (LAST - FIRST)) * (PANEL.width - PANEL.left - PANEL.right));
  const y = (value: number) =>
    round(PANEL.height - PANEL.bottom - ((value - low) / (100 - low)) * (PANEL.height - PANEL.top - PANEL.bottom));

  const parts = [`<text x="${PANEL.left}" y="20" font-size="14" font-weight="bold">${escaped(heading)}</text>`];
  parts.push(`<text x="${PANEL.left}" y="34" fill="#555555">test accuracy, %</text>`);
  for (let value = low; value <= 100; value += step) {
    parts.push(line(x(FIRST), y(value), x(LAST), y(value), '#dddddd'));
    parts.push(`<text x="${PANEL.left - 6}" y="${y(value) + 4}" text-anchor="end">${value}</text>`);
  }
  for (const [, label, at] of PLACES) {
    parts.push(`<text x="${x(at)}" y="${PANEL.height - PANEL.bottom + 18}" text-anchor="middle">${label}</text>`);
  }
  const middle = (x(FIRST) + x(LAST)) / 2;
  parts.push(
    `<text x="${middle}" y="${PANEL.height - 8}" text-anchor="middle" fill="#555555">bits of weights and activations</text>`,
  );
  for (const { method, cells } of shown) {
    const { colour, dash } = STROKES[method] ?? OTHER;
    const points = PLACES.filter(([key]) => cells[key]).map(([key, , at]) => ({ at: x(at), ...cells[key] }));
    const path = points.map(({ at, mean }) => `${at},${y(mean)}`).join(' ');
    const dashes = dash ? ` stroke-dasharray="${dash}"` : '';
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.8"${dashes}/>`);
    for (const { at, mean, spread } of points) {
      parts.push(`<circle cx="${at}" cy="${y(mean)}" r="2.4" fill="${colour}"/>`);
      if (spread !== null) parts.push(line(at, y(mean - spread), at, y(mean + spread), colour));
    }
  }
  for (const { key, value, title } of marks) {
    const at = PLACES.find((place) => place[0] === key)?.[2];
    if (at !== undefined) parts.push(diamond(x(at), y(value), title));
  }
  return parts;
}

/** A published figure. */
interface Mark {
  key: string;
  value: number;
  title: string;
}

function published(dataset: string, quantizer: QuantizerName): Mark[] {
  return publishedFor(dataset, quantizer).flatMap(({ title, accuracies }) =>
    Object.entries(accuracies).flatMap(([key, value]) => [value].flat().map((v) => ({ key, value: v, title }))),
  );
}

interface LegendEntry {
  title: string;
  /** null: the mark of published figures. */
  stroke: Stroke | null;
}

function legendEntry({ title, stroke }: LegendEntry, index: number, width: number): string {
  const x = PANEL.left + (index % LEGEND.columns) * ((width - PANEL.left) / LEGEND.columns);
  const y = 10 + LEGEND.line * Math.floor(index / LEGEND.columns);
  const sign =
    stroke === null
      ? diamond(x + 16, y, title)
      : `<line x1="${x}" y1="${y}" x2="${x + 32}" y2="${y}" stroke="${stroke.colour}" stroke-width="2"${
          stroke.dash ? ` stroke-dasharray="${stroke.dash}"` : ''
        }/>`;
  return `${sign}<text x="${x + 40}" y="${y + 4}">${escaped(title)}</text>`;
}

function diamond(x: number, y: number, title: string): string {
  const corners = `${x},${y - 5} ${x + 5},${y} ${x},${y + 5} ${x - 5},${y}`;
  return `<polygon points="${corners}" fill="#ffffff" stroke="#d55e00" stroke-width="1.6"><title>${escaped(title)}</title></polygon>`;
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}"/>`;
}

function group(x: number, y: number, parts: string[]): string {
  return `<g transform="translate(${x} ${y})">\n${parts.join('\n')}\n</g>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
