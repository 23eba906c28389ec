/** The measurements of nets, layers and variants: everything in one process, both sides interleaved. */
import { NativeEngine } from '../dist/src/engine/native.js';
import { calibrate } from './calibration.mjs';
import { onnxRuntime, ours, peers } from './contestants.mjs';
import { compare, median, othersShare, ratio } from './measure.mjs';
import { images, NETS, stack, weightCount } from './nets.mjs';
import { int8Model } from './ort-models.mjs';
import { verify } from './verify.mjs';
import { Versions } from './version.mjs';

const square = (bits) => ({ weightBits: bits, activationBits: bits });
const THREADS = [1, 2];
/** Of the processor: what others may take. */
const MUCH = 0.05;

/** How much of everything. */
export const FULL = {
  widths: [8, 6, 5, 4, 3, 2],
  threads: THREADS,
  budget: { single: 6000, 1: 5000, 32: 15000, dense: 5000, layer: 3000 },
  builds: 7,
  again: 4,
};
export const QUICK = {
  widths: [8, 4, 2],
  threads: [1],
  budget: { single: 1000, 1: 700, 32: 1500, dense: 700, layer: 500 },
  builds: 2,
  again: 0,
};

/** @returns {Promise<{engine: string, nets: object[], cases: object[]}>} */
export async function measureNets(size, probe, log) {
  const versions = await Versions.open();
  const engines = new Map();
  try {
    for (const threads of size.threads) engines.set(threads, await NativeEngine.create({ threads }));
    const nets = [];
    const cases = [];
    const again = { left: size.again };
    for (const make of Object.values(NETS)) {
      const net = make();
      const calibration = await calibrate(net);
      const source = await versions.publish(net, calibration.ranges);
      const { variants, memory, builds } = await buildAll(engines, source, size);
      const row = { name: net.name, macs: variants.get(1).get(8).plan.macs, weights: weightCount(net), memory, builds };
      nets.push(row);
      for (const plan of casesOf(net, size)) {
        const { batch, threads } = plan;
        const input = images(net, batch);
        const own = [...variants.get(threads).values()].map((v) => ours(engines.get(threads), v, input, batch));
        const others = await peers(net, calibration, batch, threads);
        // The number of threads changes no sum.
        if (threads === 1) row.errors = { ...(await verify(net, [...others, ...own])), ...row.errors };
        await probe.sample(true);
        const { results, disturbed } = await undisturbed(interleave(own, others), plan, again);
        for (const peer of others) await peer.close();
        const measured = {
          net: net.name,
          batch,
          threads,
          caches: plan.single ? 'cold' : 'warm',
          disturbed,
          ...summarise(results),
        };
        cases.push(measured);
        log(measured);
      }
      for (const [threads, list] of variants) for (const v of list.values()) engines.get(threads).release(v);
    }
    return { engine: engines.get(1).name, nets, cases };
  } finally {
    for (const engine of engines.values()) await engine.close();
    await versions.close();
  }
}

function casesOf(net, size) {
  const isDense = net.name === 'dense4096';
  const { budget } = size;
  return size.threads.flatMap((threads) =>
    [1, 32].flatMap((batch) => {
      const one = { batch, threads, budgetMs: isDense ? budget.dense : budget[batch] };
      // What a dense layer costs is reading its weights: from memory, or from a cache that still holds them.
      return isDense && batch === 1 ? [{ ...one, budgetMs: budget.single, single: true }, one] : [one];
    }),
  );
}

/** Measures a second time where other processes took much of the processor, as often as the run has time for that. */
async function undisturbed(list, plan, again) {
  const measure = async () => {
    const share = othersShare();
    const results = await compare(list, plan);
    return { results, disturbed: share() };
  };
  const first = await measure();
  if (!(first.disturbed > MUCH) || again.left <= 0) return first;
  again.left--;
  const second = await measure();
  return second.disturbed < first.disturbed ? second : first;
}

/** Ours and theirs by turns: A B A B. */
function interleave(own, others) {
  const list = [];
  for (let i = 0; i < Math.max(own.length, others.length); i++)
    list.push(...own.slice(i, i + 1), ...others.slice(i, i + 1));
  return list;
}

/** Every width on every engine; what is resident for each, and how long building takes. */
async function buildAll(engines, source, { widths, builds: count }) {
  const variants = new Map();
  const memory = [];
  const builds = [];
  for (const [threads, engine] of engines) {
    const list = new Map();
    for (const bits of [...widths, 32]) {
      const times = [];
      let variant;
      for (let i = 0; i < count; i++) {
        if (variant) engine.release(variant);
        variant = await engine.build(source, square(bits));
        times.push(variant.buildMs);
      }
      list.set(bits, variant);
      // The first one also checks the file against its digest.
      builds.push({ bits, threads, ms: median(times), first: times[0] });
      if (threads === 1) memory.push({ bits, ...resident(variant, bits) });
    }
    variants.set(threads, list);
  }
  return { variants, memory, builds };
}

/** Bytes of a variant, beside weights·bits/8 and the scales and biases (8 bytes for each output channel). */
function resident(variant, bits) {
  let packed = 0;
  let channels = 0;
  for (const op of variant.plan.ops) {
    if (!('weights' in op)) continue;
    packed += (op.weights.rows * op.weights.columns * bits) / 8;
    channels += op.weights.rows;
  }
  const parameters = channels * (bits <= 8 ? 8 : 4);
  return { bytes: variant.memoryBytes, packed, parameters, share: (variant.memoryBytes - parameters) / packed };
}

/**
 * Milliseconds, and each of ours against ONNX Runtime in 8 bits (the faster form) and in float32, and TF.js: as the caller
 * waits for it, and `inside`, without the way to the engine's threads and back.
 */
function summarise(results) {
  const int8 = [...results.keys()].filter((name) => name.startsWith('ort int8'));
  const best = int8.reduce((a, b) => (results.get(b).ms < results.get(a).ms ? b : a));
  const rows = [];
  for (const [name, { ms, least, runs, compute, rounds }] of results) {
    const row = { name, ms, least, runs, rounds: rounds.size, compute };
    if (name.startsWith('ours')) {
      const own = results.get(name);
      const rivals = { 'ort int8': best, 'ort fp32': 'ort fp32', 'tfjs wasm': 'tfjs wasm' };
      row.over = {};
      row.inside = {};
      for (const [key, rival] of Object.entries(rivals)) {
        if (!results.has(rival)) continue;
        row.over[key] = ratio(results.get(rival), own);
        row.inside[key] = ratio(results.get(rival), own, 'inside');
      }
    }
    rows.push(row);
  }
  return { int8: best, rows };
}

const LAYERS = [
  [32, 64],
  [16, 128],
  [8, 256],
  [4, 512],
];
const MORE = 4;

/**
 * 3×3 layers by themselves, codes in and codes out, on one thread: what four more of them add to a net's time. ONNX
 * Runtime's likewise.
 */
export async function measureLayers(size, probe, log) {
  const engine = await NativeEngine.create({ threads: 1 });
  const rows = [];
  try {
    for (const [side, channels] of LAYERS) {
      const nets = [stack(side, channels, 1), stack(side, channels, 1 + MORE)];
      const macs = side * side * channels * channels * 9;
      const calibrated = [];
      for (const net of nets) calibrated.push(await calibrate(net));
      for (const batch of [1, 32]) {
        const list = [];
        for (const [i, net] of nets.entries()) {
          const input = images(net, batch);
          const source = sourceOf(net, calibrated[i].ranges);
          for (const bits of size.widths)
            list.push(ours(engine, await engine.build(source, square(bits)), input, batch));
          list.push(await onnxRuntime('ort int8', int8Model(net, batch, calibrated[i].extremes), net, input, batch, 1));
        }
        const half = list.length / 2;
        const names = list.slice(0, half).map((c) => c.name);
        list.forEach((c, i) => {
          c.name = `${c.name} ${i < half ? 'one' : 'more'}`;
        });
        await probe.sample();
        const results = await compare(list, { budgetMs: size.budget.layer, leastRounds: 5 });
        await probe.sample();
        for (const contestant of list) await contestant.close();
        for (const name of names) {
          const [one, more] = [results.get(`${name} one`), results.get(`${name} more`)];
          const of = (pick) => (pick(more.compute ?? more) - pick(one.compute ?? one)) / MORE;
          const [ms, least] = [of((t) => t.ms), of((t) => t.least)];
          const row = {
            layer: `${side}×${side}×${channels}`,
            batch,
            name,
            ms,
            least,
            gmacs: (macs * batch) / ms / 1e6,
          };
          rows.push(row);
          log(row);
        }
      }
    }
    return rows;
  } finally {
    await engine.close();
  }
}

function sourceOf(net, ranges) {
  const input = { shape: net.shape, range: [-1, 1], resize: 'fill' };
  const manifest = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
  return { graph: net.graph, manifest, folder: '', readWeights: async () => net.weights };
}
