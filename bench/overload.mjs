/**
 * What the service does past its capacity, and under a power budget: OVERLOAD_POLICY=degrade beside reject, with requests that
 * come when they come; then POWER_BUDGET_MW, 65 and 45 % of what there is without, beside none. cifar10-resnet20, in one process. Last, over sockets, how soon 10 MB are refused
 * (refusals.mjs). `node bench/overload.mjs [--quick] [--refusals]`, the latter: that alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { NativeEngine } from '../dist/src/engine/native.js';
import { median } from './measure.mjs';
import { uniform } from './nets.mjs';
import { measureRefusals, line as told } from './refusals.mjs';
import { Served } from './serving-net.mjs';

const MODEL = 'cifar10-resnet20';
const QUEUE = '128';
/** Times what the service answers at its default bits. */
const LOAD = 2;
/** Milliseconds of the power budget's average. */
const WINDOW_MS = 10_000;

export async function measureOverload({ seconds = 8, powerSeconds = 12, log = () => {} } = {}) {
  const engine = await NativeEngine.create();
  const served = await Served.open(engine);
  try {
    const body = await served.image(MODEL);
    // Served as 16-bit floats: the bits are there to be lowered.
    const settings = { DEFAULT_MODEL: MODEL, DEFAULT_BITS: '16', MAX_QUEUE: QUEUE };
    const capacity = await closedLoop(served.service(settings).service, body, 1500);
    const rows = [];
    for (const policy of ['reject', 'degrade']) {
      const { service } = served.service({ ...settings, OVERLOAD_POLICY: policy });
      // The times of the precisions become known while there is no load.
      for (let i = 0; i < 20; i++) await service.infer(request(body));
      await sleep(3000);
      const row = { what: policy, ...(await openLoop(service, body, LOAD * capacity, seconds)) };
      rows.push(row);
      log(row);
    }
    const rate = Math.min(300, capacity);
    const power = { DEFAULT_MODEL: MODEL, DEFAULT_BITS: '8', MAX_QUEUE: QUEUE };
    let unbound = 0;
    for (const share of [0, 0.65, 0.45]) {
      const budget = Number((share * unbound).toFixed(2));
      const { service } = served.service({ ...power, POWER_BUDGET_MW: String(budget) });
      const { cost } = await service.infer(request(body));
      unbound = (cost.energyUj * rate) / 1000;
      const run = await openLoop(service, body, rate, powerSeconds);
      const row = { what: budget ? `${budget} mW` : 'no power budget', budget, ...run };
      rows.push(row);
      log(row);
    }
    return rows;
  } finally {
    await served.close();
    await engine.close();
  }
}

const request = (body) => ({ choice: {}, body: { kind: 'raw', dtype: 'float32', bytes: body } });

async function closedLoop(service, body, ms) {
  await service.infer(request(body));
  let answered = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (; performance.now() - began < ms; answered++) await service.infer(request(body));
    }),
  );
  return (answered / (performance.now() - began)) * 1000;
}

/** Requests that come at random at a rate, whether or not those before are answered. */
async function openLoop(service, body, rate, seconds) {
  const random = uniform(5);
  const answers = [];
  const refusals = [];
  const pending = [];
  const began = performance.now();
  const ask = async () => {
    const start = performance.now();
    try {
      const { precision, cost, degraded } = await service.infer(request(body));
      answers.push({ at: performance.now(), ms: performance.now() - start, precision, ...cost, degraded });
    } catch (error) {
      if (error.extra?.retry_after_s === undefined) throw error;
      refusals.push({ code: error.code, ms: performance.now() - start, retryAfterS: error.extra.retry_after_s });
    }
  };
  let due = began;
  while (due < began + seconds * 1000) {
    for (; due <= performance.now(); due += (-Math.log(1 - random()) / rate) * 1000) pending.push(ask());
    await sleep(1);
  }
  await Promise.all(pending);
  const bits = {};
  for (const { precision } of answers) {
    const key = `${precision.weightBits}×${precision.activationBits}`;
    bits[key] = (bits[key] ?? 0) + 1;
  }
  const times = Float64Array.from(answers, (a) => a.ms).sort();
  return {
    rate,
    came: pending.length,
    answered: answers.length / pending.length,
    degraded: answers.filter((a) => a.degraded).length / answers.length,
    accuracy: answers.reduce((sum, a) => sum + a.expectedAccuracy, 0) / answers.length,
    p50: times[times.length >> 1],
    p99: times[Math.floor(times.length * 0.99)],
    refusalMs: refusals.length ? median(refusals.map((r) => r.ms)) : null,
    retryAfterS: refusals.length ? median(refusals.map((r) => r.retryAfterS)) : null,
    /** The largest of any window, in milliwatts. */
    power: mostPower(answers),
    bits,
  };
}

function mostPower(answers) {
  let [most, sum, first] = [0, 0, 0];
  for (const answer of answers) {
    sum += answer.energyUj;
    while (answers[first].at <= answer.at - WINDOW_MS) sum -= answers[first++].energyUj;
    most = Math.max(most, sum);
  }
  return most / WINDOW_MS;
}

export const line = (r) =>
  `${r.what}: ${r.rate.toFixed(0)} a second came, ${(100 * r.answered).toFixed(1)} % answered, ` +
  `expected accuracy ${r.accuracy.toFixed(4)}, p50 ${r.p50.toFixed(1)} ms, p99 ${r.p99.toFixed(1)} ms, ` +
  `${(100 * r.degraded).toFixed(0)} % at lowered bits (${Object.entries(r.bits)
    .map(([key, n]) => `${key}: ${n}`)
    .join(', ')}), ` +
  (r.refusalMs === null ? '' : `refused in ${r.refusalMs.toFixed(2)} ms (retry after ${r.retryAfterS} s), `) +
  `at most ${r.power.toFixed(1)} mW over 10 s`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [quick, refusals] = ['--quick', '--refusals'].map((flag) => process.argv.includes(flag));
  const run = { seconds: quick ? 4 : 8, powerSeconds: quick ? 6 : 12, log: (row) => console.log(line(row)) };
  if (!refusals) await measureOverload(run);
  await measureRefusals({ each: quick ? 50 : 200, log: (row) => console.log(told(row)) });
}
