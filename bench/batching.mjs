/**
 * What dynamic batching is worth: BATCHING=on beside BATCHING=off, by turns in one process, on one engine, for one client and
 * for 32 at once, of one image each. `node bench/batching.mjs [--quick]`
 *
 * Each is measured as a program sees the service (`infer`) and over HTTP (`/predict`, clients on a thread of their own).
 */
import { pathToFileURL } from 'node:url';
import { NativeEngine } from '../dist/src/engine/native.js';
import { BufferedBytes } from '../dist/src/http/plugins/buffered-bytes.js';
import { createLogger, requestLog } from '../dist/src/http/plugins/logging.js';
import { Metrics } from '../dist/src/http/plugins/metrics.js';
import { problems } from '../dist/src/http/plugins/problem.js';
import { queryBeforeBody, validatorCompiler } from '../dist/src/http/plugins/validation.js';
import { predictRoutes } from '../dist/src/http/routes/predict.js';
import { createServer } from '../dist/src/http/server.js';
import { Clients } from './clients.mjs';
import { median } from './measure.mjs';
import { Served } from './serving-net.mjs';

export const CASES = [
  { model: 'mlp', bits: 8 },
  { model: 'cifar10-resnet20', bits: 4 },
  { model: 'mnist-lenet', bits: 4 },
];
const CLIENTS = [1, 32];

export async function measureBatching({ rounds = 12, burstMs = 150, log = () => {} } = {}) {
  const engine = await NativeEngine.create();
  const served = await Served.open(engine);
  const clients = new Clients();
  const servers = [];
  try {
    const sides = {};
    for (const mode of ['on', 'off']) {
      const sizes = [];
      const observer = { onBatch: ({ instances }) => sizes.push(instances) };
      const { service } = served.service({ BATCHING: mode }, observer);
      const app = await listening(service);
      servers.push(app);
      sides[mode] = { service, sizes, port: app.server.address().port };
    }
    const rows = [];
    for (const { model, bits } of CASES) {
      const body = await served.image(model);
      for (const count of CLIENTS) {
        for (const way of ['infer', 'http']) {
          const burst = (side, ms) =>
            way === 'infer'
              ? inferBurst(side.service, { model, bits, body, count, ms })
              : clients.run({ port: side.port, path: path(model, bits), body, clients: count, ms });
          const row = { model, bits, clients: count, way, ...(await byTurns(sides, burst, rounds, burstMs)) };
          rows.push(row);
          log(row);
        }
      }
    }
    return rows;
  } finally {
    await clients.close();
    for (const app of servers) await app.close();
    await served.close();
    await engine.close();
  }
}

const path = (model, bits) => `/predict?model=${model}&bits=${bits}&dtype=float32`;

/** The app's way of a prediction, without what a prediction does not touch. */
async function listening(service) {
  const logger = createLogger('silent');
  const app = createServer(1 << 24, logger, new Metrics());
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  requestLog(app, logger);
  problems(app);
  queryBeforeBody(app);
  predictRoutes(app, { service, buffered: new BufferedBytes({ max: 1 << 28 }) });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app;
}

/** Medians over rounds, and the median of the rounds' ratios: above 1, batching is the better. */
async function byTurns(sides, burst, rounds, ms) {
  const seen = { on: [], off: [] };
  for (const mode of ['on', 'off']) await burst(sides[mode], ms / 2);
  for (const { sizes } of Object.values(sides)) sizes.length = 0;
  for (let round = 0; round < rounds; round++) {
    for (const mode of round % 2 ? ['off', 'on'] : ['on', 'off']) seen[mode].push(await burst(sides[mode], ms));
  }
  const of = (mode, key) => median(seen[mode].map((r) => r[key]));
  const ratio = (key, over) =>
    median(seen.on.map((on, i) => (over === 'off' ? on[key] / seen.off[i][key] : seen.off[i][key] / on[key])));
  const { sizes } = sides.on;
  return {
    rate: { on: of('on', 'rate'), off: of('off', 'rate') },
    p50: { on: of('on', 'p50'), off: of('off', 'p50') },
    p99: { on: of('on', 'p99'), off: of('off', 'p99') },
    /** Instances of a batch: the mean over instances of the batch that each was in. */
    together: sizes.reduce((sum, n) => sum + n * n, 0) / sizes.reduce((sum, n) => sum + n, 0),
    throughput: ratio('rate', 'off'),
    latency: ratio('p50', 'on'),
    failed: seen.on.concat(seen.off).reduce((sum, r) => sum + (r.failed ?? 0), 0),
  };
}

async function inferBurst(service, { model, bits, body, count, ms }) {
  const request = { model, choice: { bits }, body: { kind: 'raw', dtype: 'float32', bytes: body } };
  const times = [];
  const began = performance.now();
  await Promise.all(
    Array.from({ length: count }, async () => {
      while (performance.now() - began < ms) {
        const start = performance.now();
        await service.infer(request);
        times.push(performance.now() - start);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  return { rate: times.length / seconds, p50: at(0.5), p99: at(0.99) };
}

export const line = ({ model, bits, clients, way, rate, p50, together, throughput, latency }) =>
  `${model} ${bits}×${bits}, ${clients} × ${way}: ${rate.on.toFixed(0)}/s with batching, ${rate.off.toFixed(0)}/s without ` +
  `(× ${throughput.toFixed(2)}); p50 ${p50.on.toFixed(3)} and ${p50.off.toFixed(3)} ms (× ${latency.toFixed(2)}); ` +
  `${together.toFixed(1)} together`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const quick = process.argv.includes('--quick');
  await measureBatching({ rounds: quick ? 5 : 12, burstMs: quick ? 100 : 150, log: (row) => console.log(line(row)) });
}
