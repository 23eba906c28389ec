/** docs/SOAK.md: what a run promised and measured. */
import { LIMITS } from './endurance.mjs';

export function page({ date, node, cores, load, minutes, kills, seed, soak, promises }) {
  const rows = promises.map(
    ({ promise, measured, holds }) =>
      `| ${promise} | ${measured.replaceAll('|', '\\|')} | ${holds ? 'yes' : '**no**'} |`,
  );
  const kinds = Object.entries(soak?.answers ?? {}).map(([kind, counts]) => {
    const answers = Object.entries(counts).map(([status, n]) => `${n} × ${status}`);
    return `| ${kind} | ${answers.join(', ')} |`;
  });
  return `# Soak and chaos

    npm run soak -- --minutes=${minutes} --kills=${kills} --write

One process on the loopback gets ${minutes} minutes of good requests of three models at all widths with room for few variants, bad
requests of every kind, clients that hang up, trainings, cancels, publishes and rollbacks. Another one is ended by SIGKILL ${kills} times
at random moments of trainings and publishes and started again over the same folder. Flat means: after the first quarter of the time,
the last quarter's median at most ${100 * LIMITS.growth} % above the first's, and the robust slope at most ${100 * LIMITS.slope} % over the whole. The event loop's p99 is of all
its turns after the first quarter, by the service's own metric, below ${LIMITS.loopMs} ms. A good request has to be answered 200, a bad one with
the status that it deserves; 503 is an answer to any.

Run of ${date.slice(0, 10)}, Node ${node}, ${cores} cores, load ${load.toFixed(1)} at the start, seed ${seed}:

| promise | measured | holds |
|---|---|---|
${rows.join('\n')}

| requests | answers |
|---|---|
${kinds.join('\n')}

This page is written by \`test/soak/main.mjs\`.
`;
}
