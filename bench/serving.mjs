/**
 * How long /predict takes while the server trains, next to how long it takes when it does not: the same server process,
 * one client on the loopback with a request every few milliseconds. `node bench/serving.mjs`
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { uniform } from './nets.mjs';
import { Server } from './server.mjs';

const INTERVAL_MS = 10;
const WARM_UP = 100;
const START_MS = 60_000;
const ACTIVE = ['queued', 'running'];

export async function measureServing({ requests = 800 } = {}) {
  const server = await Server.start();
  try {
    await load(server, WARM_UP);
    const before = await load(server, requests / 2);
    // Long enough to outlast the requests; it is cancelled after them.
    const { job } = await server.admin('POST', '/admin/train', { model: 'bench', epochs: 50, publish: false });
    const path = `/admin/jobs/${job.id}`;
    await training(server, path);
    const during = await load(server, requests);
    const { step } = (await server.admin('GET', path)).job.progress;
    await server.admin('DELETE', path);
    await ended(server, path);
    const after = await load(server, requests / 2);
    const idle = percentiles([...before, ...after]);
    const busy = percentiles(during);
    return { idle, busy, ratio: { p50: busy.p50 / idle.p50, p99: busy.p99 / idle.p99 }, steps: step };
  } finally {
    await server.stop();
  }
}

/** Milliseconds of each of `count` predictions, sent when they are due whether or not the ones before are back. */
async function load(server, count) {
  const random = uniform(3);
  const pixels = Buffer.from(Float32Array.from({ length: 28 * 28 }, random).buffer);
  const began = performance.now();
  const pending = [];
  for (let i = 0; i < count; i++) {
    const early = began + i * INTERVAL_MS - performance.now();
    if (early > 0) await sleep(early);
    pending.push(timedPrediction(server, pixels));
  }
  return Promise.all(pending);
}

async function timedPrediction(server, pixels) {
  const start = performance.now();
  await server.predict(pixels, 'bits=4');
  return performance.now() - start;
}

async function training(server, path) {
  for (const end = performance.now() + START_MS; performance.now() < end; await sleep(100)) {
    const { job } = await server.admin('GET', path);
    if (job.state === 'running' && job.progress.step > 3) return;
    if (!ACTIVE.includes(job.state)) throw new Error(`the training ${job.state}: ${job.error?.message}`);
  }
  throw new Error('the training did not begin');
}

async function ended(server, path) {
  for (const end = performance.now() + START_MS; performance.now() < end; await sleep(50)) {
    const { job } = await server.admin('GET', path);
    if (!ACTIVE.includes(job.state)) return;
  }
  throw new Error('the training did not end');
}

function percentiles(times) {
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1), requests: sorted.length };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  console.log(JSON.stringify(await measureServing(), null, 2));
