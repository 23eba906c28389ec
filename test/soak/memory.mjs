/** Whether resident memory is flat: samples of a process, judged by medians and by a slope that outliers do not move. */
import { readFileSync } from 'node:fs';

export function residentBytes(pid) {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Seconds that the main thread of a process has waited for a core while it had something to do. */
export function waitedSeconds(pid) {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e9;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** @param samples `{ at: seconds, bytes }` after warm-up. Growth: last quarter over first; slope: of the whole span over its median */
export function flatness(samples) {
  const quarter = Math.max(1, samples.length >> 2);
  const bytes = samples.map((s) => s.bytes);
  const first = median(bytes.slice(0, quarter));
  const last = median(bytes.slice(-quarter));
  const slopes = [];
  // Theil and Sen: the median of the slopes of all pairs
  for (let i = 0; i < samples.length; i++) {
    for (let j = i + 1; j < samples.length; j++) {
      slopes.push((samples[j].bytes - samples[i].bytes) / (samples[j].at - samples[i].at));
    }
  }
  const span = samples.at(-1).at - samples[0].at;
  const perSecond = slopes.length > 0 ? median(slopes) : 0;
  return { first, last, growth: last / first - 1, slope: (perSecond * span) / median(bytes), most: Math.max(...bytes) };
}
