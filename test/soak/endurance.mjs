/** Mixed traffic for minutes: memory flat, no 5xx but 503, an event loop that answers, every accepted job ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { flatness, residentBytes, waitedSeconds } from './memory.mjs';
import { Operator } from './operator.mjs';
import { Tally } from './tally.mjs';
import { Traffic } from './traffic.mjs';

/** Milliseconds between two samples of the resident memory. */
const SAMPLE_MS = 1000;
/** Of the time: caches fill, code is compiled, the allocator finds its size. */
const WARM_UP = 0.25;
export const LIMITS = { growth: 0.1, slope: 0.1, loopMs: 50 };

/** @param service started; @param minutes in all */
export async function endurance(service, report, { minutes, random, token, maxBodyBytes }) {
  const tally = new Tally();
  const operator = new Operator(service, token, tally, random);
  await operator.upload();
  const traffic = new Traffic(service, tally, random, { authorization: `Bearer ${token}`, maxBodyBytes });
  operator.start();
  const began = performance.now();
  const total = minutes * 60_000;
  const samples = [];
  let warm = false;
  let waited = 0;
  let told = 0;
  for (let at = 0; at < total; at = performance.now() - began) {
    if (!warm && at > WARM_UP * total) {
      // a scrape begins the next window of the event loop's delays: it is not scraped again until the end
      await service.metric(/^nodejs_eventloop_lag_p99_seconds/);
      warm = true;
      waited = waitedSeconds(service.program.pid);
    }
    if (warm) samples.push({ at: at / 1000, bytes: residentBytes(service.program.pid) });
    if (Math.floor(at / 30_000) > told) {
      told = Math.floor(at / 30_000);
      const mib = (residentBytes(service.program.pid) / 2 ** 20).toFixed(0);
      console.error(
        `${(at / 1000).toFixed(0).padStart(5)} s  ${tally.sent} requests, ${operator.jobs.length} jobs, ${mib} MiB`,
      );
    }
    await sleep(SAMPLE_MS);
  }
  const loopMs = 1000 * (await service.metric(/^nodejs_eventloop_lag_p99_seconds/));
  waited = (waitedSeconds(service.program.pid) - waited) / (samples.at(-1).at - samples[0].at);
  await Promise.all([traffic.stop(), operator.stop()]);
  const evictions = await service.metric(/^bitdial_variant_evictions_total/);
  const { states, open } = await operator.outcome();
  const memory = flatness(samples);
  judge(report, { tally, operator, states, open, memory, loopMs, waited, evictions, alive: !service.program.ended });
  return {
    seconds: Math.round(total / 1000),
    answers: tally.kinds,
    wrong: tally.wrong,
    jobs: states,
    memory,
    loop_p99_ms: loopMs,
    evictions,
  };
}

function judge(report, { tally, operator, states, open, memory, loopMs, waited, evictions, alive }) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(0);
  report.add('the service lives', `${tally.sent} requests`, alive);
  const server = Object.entries(tally.server).map(([status, n]) => `${n} × ${status}`);
  const busy = Object.entries(tally.busy).map(([code, n]) => `${n} ${code}`);
  report.add(
    'no 5xx but 503',
    [...server, ...busy].join(', ') || 'none',
    Object.keys(tally.server).every((status) => status === '503'),
  );
  const [first] = tally.wrong;
  report.add(
    'every answer is what the request deserves',
    `${tally.wrongs} are not${first ? `: ${first.kind} ${first.status} ${first.what.slice(0, 120)}` : ''}`,
    tally.wrongs === 0,
  );
  report.add(
    'resident memory is flat after warm-up',
    `${mib(memory.first)} → ${mib(memory.last)} MiB (${percent(memory.growth)}; slope ${percent(memory.slope)}; most ${mib(memory.most)})`,
    memory.growth <= LIMITS.growth && memory.slope <= LIMITS.slope,
  );
  report.add(
    'event loop, p99 of all after warm-up',
    `${loopMs.toFixed(1)} ms (its thread waited for a core ${percent(waited)} of the time)`,
    loopMs < LIMITS.loopMs,
  );
  const ends = Object.entries(states).map(([state, n]) => `${n} ${state}`);
  report.add(
    'every accepted job ended',
    `${operator.jobs.length}: ${ends.join(', ')}; ${open.length} open`,
    open.length === 0 && operator.jobs.length > 0,
  );
  report.add('no job failed', `${states.failed ?? 0} did`, !states.failed);
  report.add('the variant cache churned', `${evictions} evictions`, evictions > 0);
  report.add('versions moved', `${operator.moves} times between ${operator.versions.size}`, operator.moves > 0);
}
