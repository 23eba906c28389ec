/**
 * A real Prometheus over the service for half a minute: every expression of the dashboard and of the alerts is asked of it, and the
 * dashboard's have to give series, those aside that need what is not here.
 *
 *   npm run build && node deploy/prometheus/check.mjs
 *
 * Needs `prometheus` and `promtool` on the PATH (Debian: apt-get install prometheus), and `redis-server` for the panel of Redis.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, Program, ROOT, Service } from '../../test/support/program.mjs';

const TRAFFIC_MS = 20_000;
const TOKEN = 'a-token-of-this-check';
const HERE = join(ROOT, 'deploy/prometheus');
/** Panels that may be empty here: of overload there may have been too little. */
const MAY_BE_EMPTY = new Set(['Bits lowered, by reason', 'Not answered, by reason']);

const folder = mkdtempSync(join(tmpdir(), 'bitdial-prometheus-'));
const programs = [];
let failures = 0;
try {
  for (const args of [
    ['check', 'rules', 'alerts.yml'],
    ['test', 'rules', 'alerts.test.yml'],
    ['check', 'config', 'prometheus.yml'],
    ['check', 'config', 'compose.yml'],
  ]) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: HERE, encoding: 'utf8' });
    say(status === 0, `promtool ${args.join(' ')}`, status === 0 ? '' : stdout + stderr);
  }
  const redis = await startRedis();
  const service = new Service('service', await freePort(), {
    DATA_DIR: join(folder, 'data'),
    ADMIN_TOKEN: TOKEN,
    LOG_LEVEL: 'warn',
    // room for few variants, so that some are let go; few instances, so that some are turned away; a budget to be held
    VARIANT_CACHE_BYTES: '150000',
    MAX_QUEUE: '64',
    POWER_BUDGET_MW: '0.5',
    OVERLOAD_POLICY: 'degrade',
    ...redis,
  });
  await service.start();
  programs.push(service);
  const prometheus = await startPrometheus(service.address);
  await traffic(service.url);
  await panels(prometheus);
  await rules(prometheus);
} finally {
  for (const program of programs.reverse()) await program.stop();
  rmSync(folder, { recursive: true, force: true });
}
console.log(failures === 0 ? 'all well' : `${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;

async function startRedis() {
  if (spawnSync('redis-server', ['--version']).error) return {};
  const port = await freePort();
  programs.push(new Program('redis-server', ['--port', String(port), '--save', '', '--dir', folder]));
  return { REDIS_URL: `redis://127.0.0.1:${port}` };
}

async function startPrometheus(target) {
  const port = await freePort();
  const config = readFileSync(join(HERE, 'prometheus.yml'), 'utf8')
    .replaceAll('15s', '1s')
    .replace('127.0.0.1:3000', target)
    .replace('alerts.yml', join(HERE, 'alerts.yml'));
  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, config);
  const address = `127.0.0.1:${port}`;
  const store = `--storage.tsdb.path=${join(folder, 'store')}`;
  const args = [`--config.file=${file}`, store, `--web.listen-address=${address}`, '--log.level=warn'];
  const program = new Program('prometheus', args);
  programs.push(program);
  const url = `http://${address}`;
  await program.until('Prometheus is ready', () =>
    fetch(`${url}/-/ready`).then(
      (r) => r.ok,
      () => false,
    ),
  );
  return url;
}

/** All precisions, protocols and kinds of mistake, a training, and now and then more at once than the service takes. */
async function traffic(url) {
  const authorization = `Bearer ${TOKEN}`;
  const image = readFileSync(join(ROOT, 'examples/digit-7.png'));
  const send = (path, body = image, type = 'image/png') =>
    fetch(url + path, { method: 'POST', body, headers: { 'content-type': type } }).then((r) => r.arrayBuffer());
  const json = (path, value) => send(path, JSON.stringify(value), 'application/json');
  const pixels = Array(784).fill(0.5);
  await fetch(`${url}/admin/train`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'mnist-lenet', dataset: 'mnist', epochs: 1, limit: 64, publish: false }),
  });
  for (const end = performance.now() + TRAFFIC_MS; performance.now() < end; await sleep(100)) {
    for (const bits of [2, 3, 4, 6, 8]) await send(`/predict?bits=${bits}`);
    await send('/predict?bits=9');
    await send('/predict?model=none');
    await json('/v1/models/mnist-lenet:predict', { instances: [pixels] });
    await json('/v2/models/mnist-lenet/infer', {
      inputs: [{ name: 'input', shape: [1, 28, 28, 1], datatype: 'FP32', data: pixels }],
    });
    await Promise.all(Array.from({ length: 12 }, () => json('/predict', { instances: Array(8).fill(pixels) })));
  }
}

async function panels(prometheus) {
  const { panels } = JSON.parse(readFileSync(join(ROOT, 'deploy/grafana/bitdial.json'), 'utf8'));
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      const query = expr.replaceAll('$job', '.*').replaceAll('$instance', '.*').replaceAll('$__rate_interval', '15s');
      const { status, data, error } = await ask(prometheus, query);
      const series = data?.result?.length ?? 0;
      say(
        status === 'success' && (series > 0 || MAY_BE_EMPTY.has(title)),
        `${title}: ${series} series`,
        error ?? query,
      );
    }
  }
}

async function rules(prometheus) {
  const answer = await fetch(`${prometheus}/api/v1/rules`).then((r) => r.json());
  for (const { rules } of answer.data.groups)
    for (const { name, health, state, lastError = '' } of rules)
      say(health === 'ok', `${name}: ${health}, ${state}`, lastError);
}

function ask(prometheus, query) {
  return fetch(`${prometheus}/api/v1/query?query=${encodeURIComponent(query)}`).then((r) => r.json());
}

function say(well, what, why) {
  if (!well) failures++;
  console.log(`${well ? 'ok  ' : 'FAIL'} ${what}${well ? '' : `\n     ${why}`}`);
}
