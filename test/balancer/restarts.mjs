/** Replicas that go away, in order and out of it, while requests come. */
import { setTimeout as sleep } from 'node:timers/promises';
import { tarOf } from '../../dist/test/support/archives.js';
import { imageFiles, shades } from '../../dist/test/support/data-files.js';
import { ADMIN_TOKEN } from './cluster.mjs';
import { Load } from './load.mjs';
import { tally } from './routing.mjs';

/** Milliseconds: longer than nginx leaves a replica out that did not answer (fail_timeout). */
const SETTLE_MS = 1500;

/** Every replica in turn: SIGTERM, its end, a new start. */
export async function rollingRestart(cluster, report) {
  const from = await cluster.logged();
  const load = new Load(cluster.url);
  const ends = [];
  for (const replica of cluster.replicas) {
    await sleep(SETTLE_MS);
    ends.push(await replica.stop('SIGTERM'));
    await replica.start();
  }
  await sleep(SETTLE_MS);
  await load.stop();
  const lines = await cluster.log(from);
  const drained = ends.every(([code]) => code === 0);
  report.add(
    'a rolling restart loses nothing',
    `${load.sent} requests, ${tally(load)}, ${again(lines)} asked again, p99 ${load.percentile(0.99).toFixed(0)} ms`,
    load.failures.length === 0 && load.sent > 200,
  );
  report.add('every replica drained', ends.map(([code, signal]) => `exit ${code ?? signal}`).join(', '), drained);
  await back(cluster, report, 'both are back in rotation');
}

/** SIGKILL, twice, each at a moment with requests in flight. */
export async function kill(cluster, report) {
  for (const replica of cluster.replicas) {
    const from = await cluster.logged();
    const load = new Load(cluster.url);
    await sleep(SETTLE_MS);
    await replica.stop('SIGKILL');
    await sleep(SETTLE_MS);
    await replica.start();
    await sleep(SETTLE_MS);
    await load.stop();
    const lines = await cluster.log(from);
    report.add(
      `kill -9 of ${replica.name} loses nothing`,
      `${load.sent} requests, ${tally(load)}, ${again(lines)} asked again`,
      load.failures.length === 0 && load.sent > 100,
    );
  }
  await back(cluster, report, 'both are back in rotation after it');
}

/** An upload that is half way when its replica is told to stop ends well, and nothing is refused meanwhile. */
export async function drain(cluster, report) {
  const flights = /^bitdial_requests_in_flight /;
  const idle = await Promise.all(cluster.replicas.map((replica) => replica.metric(flights)));
  let release;
  const released = new Promise((resolve) => {
    release = resolve;
  });
  const archive = await archiveOfImages();
  const half = archive.subarray(0, archive.length >> 1);
  const upload = fetch(`${cluster.url}/admin/datasets?name=drained`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/x-tar' },
    duplex: 'half',
    body: (async function* () {
      yield half;
      await released;
      yield archive.subarray(half.length);
    })(),
  });
  upload.catch(() => undefined);
  const busy = await holder(cluster, flights, idle);
  report.add('an upload is streamed', busy ? `${busy.name} has its first half` : 'no replica has it', Boolean(busy));
  if (!busy) return release();
  const load = new Load(cluster.url);
  const stopped = busy.stop('SIGTERM');
  await sleep(SETTLE_MS);
  const draining = !busy.program.ended;
  release();
  const response = await upload;
  const answer = await response.json();
  const [code] = await stopped;
  await load.stop();
  report.add(
    'a draining replica ends what it began',
    `upload ${response.status} ${answer.code ?? answer.name ?? ''}, ${draining ? 'after' : 'not after'} SIGTERM, exit ${code}`,
    response.status === 201 && draining && code === 0,
  );
  report.add('and nothing is refused meanwhile', `${load.sent} requests, ${tally(load)}`, load.failures.length === 0);
  await busy.start();
  await sleep(SETTLE_MS);
}

/** The replica that has one more request in flight than it had. */
async function holder(cluster, pattern, idle) {
  for (const end = performance.now() + 5000; performance.now() < end; await sleep(50)) {
    const now = await Promise.all(cluster.replicas.map((replica) => replica.metric(pattern)));
    const i = now.findIndex((count, i) => count > idle[i]);
    if (i >= 0) return cluster.replicas[i];
  }
  return null;
}

async function back(cluster, report, promise) {
  const from = await cluster.logged();
  const load = new Load(cluster.url);
  await sleep(800);
  await load.stop();
  const lines = await cluster.log(from);
  const shares = cluster.replicas.map(({ address }) => lines.filter(({ replica }) => replica === address).length);
  report.add(
    promise,
    `answered ${shares.join(' and ')} of ${load.sent}`,
    shares.every((share) => share > 0) && load.failures.length === 0,
  );
}

/** Requests that nginx sent to more than one replica. */
const again = (lines) => lines.filter(({ replica }) => replica.includes(',')).length;

/** Two classes of small images. */
async function archiveOfImages() {
  const images = await imageFiles({ dark: shades(40, 0, 70), light: shades(40, 180, 250) });
  return tarOf(Object.entries(images).map(([name, data]) => ({ name, data })));
}
