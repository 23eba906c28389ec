/**
 * results.json as tables, and beside what the engine is meant to reach. `node bench/report.mjs` puts the tables into
 * docs/PERFORMANCE.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bandwidthRows } from './targets.mjs';

const MIB = 2 ** 20;

const ms = (x) => (x === undefined ? '' : x < 1 ? x.toFixed(3) : x < 10 ? x.toFixed(2) : x.toFixed(1));
const times = (x) => (x === undefined || Number.isNaN(x) ? '' : x.toFixed(2));
const percent = (x) => `${(100 * x).toFixed(0)} %`;
const mib = (bytes) => (bytes / MIB).toFixed(1);

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Everything that was measured, as Markdown. */
export function tables(results) {
  const { machine, versions, roofline } = results;
  const parts = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory_gib} GiB, ${machine.system}; ${machine.date.slice(0, 10)}; load ` +
      `${machine.load} at the start; ${Object.entries(versions)
        .map((pair) => pair.join(' '))
        .join(', ')}; engine ${results.engine ?? '–'}.`,
  ];
  if (results.quick) parts.push('**A quick run: too few rounds to quote.**');
  if (results.targets?.length > 0) {
    const rows = results.targets.map((c) => [
      c.what,
      c.wanted,
      times(c.got),
      times(c.inside),
      times(c.most),
      c.where,
      c.met ? 'yes' : '**no**',
    ]);
    parts.push(
      '### What is to be reached: the worst of what was measured',
      table(['', 'wanted', 'got', 'without the hop', 'at most', 'where', 'met'], rows),
    );
  }
  if (roofline) parts.push('### The processor', processor(roofline));
  for (const threads of new Set(results.cases?.map((c) => c.threads))) {
    const cases = results.cases.filter((c) => c.threads === threads);
    parts.push(
      `### Nets, ${threads} ${threads === 1 ? 'thread' : 'threads'}: ms of a call (over ONNX Runtime)`,
      netTable(cases),
    );
    parts.push(
      `### Dense 4096×4096 beside MatMulNBits, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ms`,
      blockTable(cases),
    );
  }
  if (results.layers) parts.push('### 3×3 layers alone, one thread: GMAC/s (of the VNNI peak)', layerTable(results));
  const bandwidth = bandwidthRows(results);
  if (bandwidth.length > 0) {
    const rows = bandwidth.map((r) => [r.bits, r.threads, r.caches, r.gbs.toFixed(1), percent(r.share)]);
    const head = ['bits', 'threads', 'caches', 'GB/s of codes', 'of the memory bandwidth'];
    parts.push('### Dense 4096×4096, batch 1: bytes read', table(head, rows));
  }
  if (results.nets) parts.push('### Variants', variantTable(results.nets));
  if (results.memory) parts.push('### Memory of a server, MiB', memoryTable(results.memory));
  if (results.training) parts.push('### A training step', trainingTable(results.training));
  if (results.serving) parts.push('### /predict while the server trains', servingTable(results.serving));
  if (results.http) parts.push('### What a request costs the main thread, ms', httpTable(results.http));
  return parts.join('\n\n');
}

function processor({ vnni, amx, fma, read }) {
  const rows = [
    ['8-bit dot products (vpdpbusd), one thread', vnni ? `${vnni.toFixed(0)} GMAC/s` : '–'],
    ...(amx ? [['8-bit tiles (tdpbusd), one thread', `${amx.toFixed(0)} GMAC/s`]] : []),
    ['float32 FMA, one thread', fma ? `${fma.toFixed(0)} GMAC/s` : '–'],
    ...read.map(({ bytes, one, two }) => [
      `reading ${bytes / MIB} MiB, one / two threads`,
      `${one.toFixed(1)} / ${two.toFixed(1)} GB/s`,
    ]),
  ];
  return table(['', ''], rows);
}

/** One line for each net and batch; our 8 bits and fewer are over ONNX Runtime's faster int8, our fp32 over its fp32. */
function netTable(cases) {
  const own = cases[0].rows.filter(({ name }) => name.startsWith('ours')).map(({ name }) => name);
  const head = ['net', 'batch', 'ort int8', ...own, 'ort fp32', 'tfjs wasm', "others' share of the CPU"];
  const rows = cases.map(({ net, batch, caches, rows, int8, disturbed }) => {
    const find = (name) => rows.find((row) => row.name === name);
    const cells = own.map((name) => {
      const { ms: median, over } = find(name);
      return `${ms(median)} (${times(over[name === 'ours 32x32' ? 'ort fp32' : 'ort int8'])})`;
    });
    const where = caches === 'cold' ? `${net}, caches cold` : net;
    const peers = [ms(find('ort fp32').ms), ms(find('tfjs wasm')?.ms)];
    return [where, batch, ms(find(int8).ms), ...cells, ...peers, disturbed === null ? '' : percent(disturbed)];
  });
  return table(head, rows);
}

function blockTable(cases) {
  const rows = [];
  for (const { batch, caches, rows: all } of cases.filter((c) => c.net === 'dense4096')) {
    for (const bits of [8, 4, 2]) {
      const [coarse, fine] = [128, 32].map((block) =>
        all.find((r) => r.name === `ort MatMulNBits ${bits} bits, block ${block}`),
      );
      const own = all.find((r) => r.name === `ours ${bits}x${bits}`);
      rows.push([batch, caches, bits, ms(own.ms), ms(own.compute.ms), ms(fine?.ms), ms(coarse?.ms)]);
    }
  }
  return table(['batch', 'caches', 'bits', 'ours', 'ours, without the hop', 'blocks of 32', 'blocks of 128'], rows);
}

/** GMAC/s and share of the peak, one line for each layer and batch. */
function layerTable({ layers, roofline }) {
  const names = [...new Set(layers.map((r) => r.name))];
  const places = [...new Set(layers.map((r) => `${r.layer}|${r.batch}`))];
  const rows = places.map((place) => {
    const [layer, batch] = place.split('|');
    const cells = names.map((name) => {
      const { gmacs } = layers.find((r) => r.name === name && `${r.layer}|${r.batch}` === place);
      return roofline?.vnni ? `${gmacs.toFixed(0)} (${percent(gmacs / roofline.vnni)})` : gmacs.toFixed(0);
    });
    return [layer, batch, ...cells];
  });
  return table(['layer', 'batch', ...names], rows);
}

function variantTable(nets) {
  const rows = nets.flatMap(({ name, memory, builds }) =>
    memory.map(({ bits, bytes, share }) => {
      const built = builds.filter((b) => b.bits === bits).map((b) => b.ms.toFixed(1));
      return [name, bits, bytes, share.toFixed(4), built.join(' / ')];
    }),
  );
  const threads = [...new Set(nets[0].builds.map((b) => b.threads))].join(' / ');
  return table(['net', 'bits', 'resident bytes', 'codes over weights·bits/8', `build ms, ${threads} threads`], rows);
}

function memoryTable(rows) {
  const head = [
    'server with',
    'variant',
    'resident, ready',
    'after predictions',
    'of it own memory',
    'of it files',
    'peak',
  ];
  const body = rows.map((r) => {
    const { rss, anonymous, file, peak } = r.after;
    return [r.name, mib(r.variant_bytes), mib(r.ready.rss), mib(rss), mib(anonymous), mib(file), mib(peak)];
  });
  return table(head, body);
}

function trainingTable(rows) {
  const head = ['net', 'batch', 'backend', 'plain, ms', 'regularised, ms', 'ratio'];
  const body = rows.map((r) => {
    if (r.unavailable) return [r.net, '', r.backend, 'does not load here', '', '', '', '', ''];
    const others = r.disturbed === null ? '' : percent(r.disturbed);
    const cells = [ms(r.plain_ms), ms(r.regularised_ms), times(r.ratio), ms(r.cpu_ms), times(r.cpu_ratio), others];
    return [r.net, r.batch, r.backend, ...cells];
  });
  return table([...head, 'plain, processor time, ms', 'ratio of that', "others' share of the CPU"], body);
}

function servingTable({ idle, busy, ratio, steps }) {
  const rows = [
    ['not training', ms(idle.p50), ms(idle.p99), ms(idle.most), idle.requests],
    [`training (${steps} steps)`, ms(busy.p50), ms(busy.p99), ms(busy.most), busy.requests],
    ['ratio', times(ratio.p50), times(ratio.p99), '', ''],
  ];
  return table(['', 'p50 ms', 'p99 ms', 'most ms', 'requests'], rows);
}

/** Processor time of the server's main thread, and the resident memory before and after so many requests. */
export function httpTable({ ms: of, over, memory }) {
  const rows = [
    ['GET /health/live', ms(of.get), '', ''],
    ['POST /predict, 12 KB of float32', ms(of.binary), ms(over.binary), times(of.binary / of.get)],
    ['POST /predict, 3072 numbers as JSON', ms(of.json), ms(over.json), times(of.json / of.get)],
  ];
  const { requests, before, after, growth } = memory;
  const resident = `Resident: ${mib(before)} MiB, after ${requests} requests on one connection ${mib(after)} (${percent(growth)}).`;
  return `${table(['', 'ms', 'over the GET', 'times the GET'], rows)}\n\n${resident}`;
}

const BEGIN = '<!-- figures: node bench/report.mjs -->';
const END = '<!-- end of figures -->';

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const file = fileURLToPath(new URL('../docs/PERFORMANCE.md', import.meta.url));
  const results = JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8'));
  const text = readFileSync(file, 'utf8');
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${file}: expected the marks ${BEGIN} and ${END}`);
  writeFileSync(file, `${text.slice(0, from + BEGIN.length)}\n\n${tables(results)}\n\n${text.slice(to)}`);
}
