/** Interleaved timing: in every round each contestant has one turn, in an order that moves on from round to round. */

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

/** A turn of a quick contestant is a burst of runs about this long, the first of them not counted. */
const BURST_MS = 12;
const MOST_RUNS_IN_A_BURST = 12;
/** What takes longer than this is warmed up once and has its turn in every third round only. */
const SLOW_MS = 500;

export const median = (list) => {
  const sorted = Float64Array.from(list).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

async function timed(contestant) {
  const began = performance.now();
  await contestant.run();
  return performance.now() - began;
}

/**
 * @param {import('./contestants.mjs').Contestant[]} list
 * @param options budgetMs: time for the rounds; single: bursts of one run, so that each run finds the caches as the others
 *   left them
 * @returns by name: median and least milliseconds of a run, compute for what an engine says of itself, and the rounds' medians
 */
export async function compare(list, { budgetMs, single = false, leastRounds = 3, mostRounds = 200 }) {
  const entries = [];
  for (const contestant of list) {
    let estimate = await timed(contestant);
    for (let i = 0; i < 3 && estimate < SLOW_MS; i++) estimate = Math.min(estimate, await timed(contestant));
    const runs = single ? 1 : Math.min(Math.max(Math.floor(BURST_MS / estimate), 1), MOST_RUNS_IN_A_BURST);
    entries.push({
      contestant,
      runs,
      every: estimate > SLOW_MS ? 3 : 1,
      times: [],
      computes: [],
      rounds: new Map(),
      inside: new Map(),
    });
  }
  const end = performance.now() + budgetMs;
  for (let round = 0; round < mostRounds && (round < leastRounds || performance.now() < end); round++) {
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[(i + round) % entries.length];
      if (round % entry.every !== 0) continue;
      if (entry.runs > 1) await timed(entry.contestant);
      const turn = [];
      const inside = [];
      for (let k = 0; k < entry.runs; k++) {
        turn.push(await timed(entry.contestant));
        if (entry.contestant.computeMs !== undefined) inside.push(entry.contestant.computeMs);
      }
      if (entry.contestant.restMs) await pause(entry.contestant.restMs);
      entry.times.push(...turn);
      entry.rounds.set(round, median(turn));
      entry.computes.push(...inside);
      if (inside.length > 0) entry.inside.set(round, median(inside));
    }
  }
  return new Map(entries.map((entry) => [entry.contestant.name, summary(entry)]));
}

function summary({ times, computes, rounds, inside }) {
  return {
    ms: median(times),
    least: Math.min(...times),
    runs: times.length,
    compute: computes.length > 0 ? { ms: median(computes), least: Math.min(...computes) } : null,
    rounds,
    inside,
  };
}

/**
 * How many times as long `peer` takes: the median over the rounds that both were in.
 * @param {'rounds' | 'inside'} which ours as the caller waits for it, or as the engine itself counts
 */
export function ratio(peer, own, which = 'rounds') {
  const shared = [...peer.rounds].filter(([round]) => own[which].has(round));
  return median(shared.map(([round, ms]) => ms / own[which].get(round)));
}

/** Share of the processor that other processes take between two calls, 0..1; null where the system does not tell. */
export function othersShare() {
  const first = busy();
  const own = process.cpuUsage();
  return () => {
    const last = busy();
    if (!first || !last) return null;
    const { user, system } = process.cpuUsage(own);
    // Ticks are of 10 ms.
    return Math.max(last.busy - first.busy - (user + system) / 1e4, 0) / (last.all - first.all);
  };
}

function busy() {
  try {
    const ticks = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))[1].split(' ').slice(0, 8).map(Number);
    const all = ticks.reduce((a, b) => a + b, 0);
    return { all, busy: all - ticks[3] - ticks[4] };
  } catch {
    return null;
  }
}
