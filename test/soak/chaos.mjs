/**
 * SIGKILL at random moments of trainings and publishes, and a new start over the same folder: what was answered 202 is still a
 * job, what was published is still a version with the same digest, and the last move of `current` that was answered holds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MODEL, Operator } from './operator.mjs';
import { Tally } from './tally.mjs';

/** Time between a start and the kill at most, as trainings take here: enough for some to end, little enough for most not to. */
const LONGEST_LIFE = 2.5;

/** @param rounds kills */
export async function chaos(service, report, { rounds, random, token }) {
  const operator = new Operator(service, token, new Tally(), random);
  const memory = { keys: new Map(), versions: new Map(), current: null, asked: new Set() };
  const lost = { jobs: [], versions: [], current: [], duplicates: [] };
  let serial = 0;
  await operator.upload();
  const trainingMs = await firstTraining();
  for (let round = 0; round < rounds; round++) {
    let killed = false;
    const life = sleep(200 + LONGEST_LIFE * trainingMs * random()).then(async () => {
      killed = true;
      await service.stop('SIGKILL');
    });
    await Promise.all([life, submit(), publish()]);
    await service.start();
    await check();
    console.error(
      `${String(round + 1).padStart(5)} kills  ${memory.keys.size} jobs asked, ${memory.versions.size} versions`,
    );

    async function submit() {
      while (!killed) {
        const key = `chaos-${serial++}`;
        const body = operator.training({ epochs: 2 });
        const { status, json } = await operator.ask('POST', '/admin/train', body, { 'idempotency-key': key });
        // an answer that never came may stand for a job or for none: asked again, the key tells
        memory.keys.set(key, { body, id: status === 202 ? json.job.id : null });
        await sleep(trainingMs * random());
      }
    }

    async function publish() {
      while (!killed) {
        await sleep(100 * random());
        const known = await versions();
        for (const { version, digest } of known) memory.versions.set(version, digest);
        if (known.length === 0) continue;
        const { version } = known[Math.floor(random() * known.length)];
        memory.asked.add(version);
        const { status } = await operator.ask('POST', `/admin/models/${MODEL}/current`, { version });
        if (status !== 200) continue;
        memory.current = version;
        memory.asked.clear();
      }
    }
  }
  const { states, open } = await operatorOutcome();
  report.add('the service starts after every kill', `${rounds} kills`, true);
  report.add(
    'no accepted job is lost',
    `${operator.jobs.length} jobs, ${lost.jobs.length} lost, ${lost.duplicates.length} made twice`,
    lost.jobs.length + lost.duplicates.length === 0 && operator.jobs.length > 0,
  );
  const ends = Object.entries(states).map(([state, n]) => `${n} ${state}`);
  report.add('every accepted job ends', `${ends.join(', ')}; ${open.length} open`, open.length === 0);
  report.add(
    'no published version is lost',
    `${memory.versions.size} versions, ${lost.versions.length} lost`,
    lost.versions.length === 0 && memory.versions.size > 0,
  );
  report.add(
    'the current version stays',
    `${lost.current.length} times another one${lost.current[0] ? `: ${lost.current[0]}` : ''}`,
    lost.current.length === 0,
  );
  return { kills: rounds, jobs: states, versions: memory.versions.size, lost };

  /** A version to begin with, and how long one takes. */
  async function firstTraining() {
    const began = performance.now();
    const { status, json, text } = await operator.ask('POST', '/admin/train', operator.training({ epochs: 2 }));
    if (status !== 202) throw new Error(`training: ${status} ${text}`);
    while (!(await operator.ended(json.job.id))) await sleep(50);
    return performance.now() - began;
  }

  async function versions() {
    const { json } = await operator.ask('GET', '/models');
    return json?.models?.find(({ name }) => name === MODEL)?.versions ?? [];
  }

  /** What was promised before the kill, asked of the process after it. */
  async function check() {
    for (const [key, entry] of memory.keys) {
      if (entry.id) {
        const { status } = await operator.ask('GET', `/admin/jobs/${entry.id}`);
        if (status !== 200) lost.jobs.push(entry.id);
      }
      if (entry.settled) continue;
      const { status, json } = await operator.ask('POST', '/admin/train', entry.body, { 'idempotency-key': key });
      if (entry.id && json?.job?.id !== entry.id)
        lost.duplicates.push(`${key}: ${entry.id}, then ${status} ${json?.job?.id}`);
      entry.id ??= json?.job?.id ?? null;
      entry.settled = entry.id !== null;
    }
    const { json } = await operator.ask('GET', '/models');
    const entry = json.models.find(({ name }) => name === MODEL);
    for (const [version, digest] of memory.versions) {
      const same = entry?.versions.find((v) => v.version === version);
      const asked = await operator.ask(
        'POST',
        `/predict?model=${MODEL}&version=${version}&bits=4`,
        Buffer.alloc(192, 9),
        { 'content-type': 'application/octet-stream' },
      );
      if (same?.digest !== digest || asked.json?.digest !== digest) lost.versions.push(`${version}: ${asked.status}`);
    }
    // a training that is published moves it, too, as does a move whose answer the kill cut off
    const newer = (version) => !memory.versions.has(version);
    const { current } = entry ?? {};
    if (
      memory.current !== null &&
      current !== memory.current &&
      !memory.asked.has(current) &&
      !newer(current) &&
      !published(current)
    ) {
      lost.current.push(`${memory.current} expected, ${current} found`);
    }
    memory.current = current ?? null;
    memory.asked.clear();
  }

  /** A version that came last may have been made current by its training after the last move. */
  function published(version) {
    return version === Math.max(...memory.versions.keys());
  }

  async function operatorOutcome() {
    operator.jobs = [...memory.keys.values()].map(({ id }) => id).filter(Boolean);
    return operator.outcome(300_000);
  }
}
