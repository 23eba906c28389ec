/** What the engine is meant to reach, and what was measured for it. */

const CONVOLUTIONAL = ['resnet18', 'vgg', 'mobilenet'];

/** Bits of a contestant of ours: `ours 4x4`. */
const bitsOf = (name) => Number(/^ours (\d+)x/.exec(name)?.[1]);

/** Each of the figures to reach, the worst that was measured for it, and where. */
export function targets(results) {
  const list = [];
  const worst = (what, wanted, entries, atMost = false) => {
    if (entries.length === 0) return;
    const [where, got, inside, most] = entries.reduce((a, b) => ((atMost ? b[1] > a[1] : b[1] < a[1]) ? b : a));
    list.push({
      what,
      wanted: `${atMost ? '≤' : '≥'} ${wanted}`,
      got,
      inside,
      most,
      where,
      met: atMost ? got <= wanted : got >= wanted,
    });
  };
  const cases = results.cases ?? [];
  const ratios = (filter, peer, bits, most = () => undefined) =>
    cases
      .filter(filter)
      .flatMap(({ net, batch, rows }) =>
        rows
          .filter(({ name }) => bits(bitsOf(name)))
          .map((row) => [`${net}, batch ${batch}, ${row.name}`, row.over[peer], row.inside[peer], most(row)]),
      );
  const isNet = (c) => CONVOLUTIONAL.includes(c.net) && c.threads === 1;
  const low = (bits) => bits <= 8;
  worst(
    'nets over ORT int8, batch 1, one thread',
    1.2,
    ratios((c) => isNet(c) && c.batch === 1, 'ort int8', low),
  );
  worst(
    'nets over ORT int8, batch 32, one thread',
    1.05,
    ratios((c) => isNet(c) && c.batch === 32, 'ort int8', low),
  );
  worst(
    'nets over ORT fp32, in fp32, one thread',
    0.9,
    ratios(isNet, 'ort fp32', (bits) => bits === 32),
  );
  for (const caches of ['cold', 'warm']) {
    const isDense = (c) => c.net === 'dense4096' && c.batch === 1 && c.threads === 1 && c.caches === caches;
    for (const [bits, wanted] of [
      [8, 1.4],
      [4, 2.8],
      [2, 5],
    ]) {
      const what = `dense over ORT int8, batch 1, ${bits} bits, caches ${caches}`;
      worst(
        what,
        wanted,
        ratios(
          isDense,
          'ort int8',
          (b) => b === bits,
          // The peer's time over that of reading the codes, or multiplying them, and nothing else, at the rates of this run.
          (row) => (row.over['ort int8'] * row.ms) / leastMs(results, bits, caches),
        ),
      );
    }
  }
  const peak = results.roofline?.vnni;
  for (const batch of peak ? [1, 32] : []) {
    const layers = (results.layers ?? []).filter((r) => r.batch === batch && r.name.startsWith('ours'));
    const entries = layers.map((r) => [`${r.layer}, ${r.name}`, r.gmacs / peak]);
    worst(`3×3 layers, share of the VNNI peak, batch ${batch}`, 0.85, entries);
  }
  const bandwidth = bandwidthRows(results).filter((r) => r.threads === 1 && r.caches === 'cold' && r.bits <= 8);
  worst(
    'dense, batch 1, share of the memory bandwidth',
    0.8,
    bandwidth.map((r) => [`${r.bits} bits`, r.share]),
  );
  worst('two threads over one, batch 32', 1.7, threadRatios(cases));
  const memory = (results.nets ?? []).flatMap((n) => n.memory.map((m) => [`${n.name}, ${m.bits} bits`, m.share]));
  worst('resident codes over weights·bits/8', 1.05, memory, true);
  const builds = results.nets?.find((n) => n.name === 'resnet18')?.builds.filter((b) => b.bits <= 8) ?? [];
  const most = Math.max(...builds.map((b) => b.threads));
  const built = builds.filter((b) => b.threads === most).map((b) => [`${b.bits} bits, ${most} threads`, b.ms]);
  worst('building ResNet-18, ms', 40, built, true);
  const steps = (results.training ?? []).filter((r) => !r.unavailable);
  const regularised = steps.map((r) => [`${r.net}, ${r.backend}`, r.ratio]);
  worst('a regularised training step over a plain one', 2.3, regularised, true);
  const resnet = steps.filter((r) => r.net === 'resnet-20').sort((a, b) => a.plain_ms - b.plain_ms);
  const better = resnet.slice(0, 1).map((r) => [r.backend, r.plain_ms]);
  worst('a plain training step of ResNet-20, batch 128, better backend, ms', 600, better, true);
  const { serving } = results;
  if (serving) worst('p99 of /predict while training, over idle', 2, [['', serving.ratio.p99]], true);
  const { http } = results;
  if (http) {
    worst('main-thread ms of a 12 KB binary predict over a GET', 0.15, [['', http.over.binary]], true);
    worst('main-thread ms of a JSON predict of 3072 numbers over a GET', 0.4, [['', http.over.json]], true);
    worst('growth of resident memory over 10 000 requests', 0.05, [['', http.memory.growth]], true);
  }
  const helped = (results.batching ?? []).filter((r) => r.model === 'mlp');
  const among = (count, pick) =>
    helped.filter((r) => r.clients === count).map((r) => [`mlp, ${r.clients} × ${r.way}`, pick(r)]);
  const throughput = among(32, (r) => r.throughput);
  worst('throughput with batching over without, 32 clients', 1.3, throughput);
  const latency = among(1, (r) => r.latency);
  // Both take the same way; what is left is how well two medians can be told apart.
  worst('p50 without batching over with, 1 client', 0.95, latency);
  return list;
}

/**
 * Milliseconds that the dense layer takes at least on one thread: those of reading its codes, from memory or from caches as they
 * hold as much, or of the dot products.
 */
function leastMs({ nets = [], roofline }, bits, caches) {
  const net = nets.find((n) => n.name === 'dense4096');
  if (!net || !roofline) return Number.NaN;
  const { bytes } = net.memory.find((m) => m.bits === bits);
  const [all, ...held] = roofline.read;
  const read = caches === 'cold' ? all : held.reduce((a, b) => (near(b, bytes) < near(a, bytes) ? b : a));
  return Math.max(bytes / read.one, net.macs / roofline.vnni) / 1e6;
}

const near = (read, bytes) => Math.abs(read.bytes - bytes);

/** Bytes that a dense layer of batch 1 reads, over the rate at which this machine reads as many. */
export function bandwidthRows({ cases = [], nets = [], roofline }) {
  const memory = nets.find((n) => n.name === 'dense4096')?.memory;
  if (!memory || !roofline) return [];
  return cases
    .filter((c) => c.net === 'dense4096' && c.batch === 1)
    .flatMap(({ threads, caches, rows }) =>
      rows
        .filter(({ name }) => bitsOf(name))
        .map(({ name, compute }) => {
          const bits = bitsOf(name);
          const { bytes } = memory.find((m) => m.bits === bits);
          const gbs = bytes / compute.ms / 1e6;
          return { bits, threads, caches, gbs, share: gbs / roofline.read[0][threads === 1 ? 'one' : 'two'] };
        }),
    );
}

function threadRatios(cases) {
  return cases
    .filter((c) => c.threads === 2 && c.batch === 32 && CONVOLUTIONAL.includes(c.net))
    .flatMap(({ net, rows }) => {
      const one = cases.find((c) => c.net === net && c.batch === 32 && c.threads === 1);
      return rows
        .filter(({ name }) => name.startsWith('ours'))
        .map((row) => [`${net}, ${row.name}`, one.rows.find((r) => r.name === row.name).ms / row.ms]);
    });
}
