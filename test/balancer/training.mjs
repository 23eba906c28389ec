/** A training through the balancer: any replica knows it, its events stream, every replica serves what it published. */
import { setTimeout as sleep } from 'node:timers/promises';
import { uniform } from '../../bench/nets.mjs';
import { MODEL, Operator } from '../soak/operator.mjs';
import { Tally } from '../soak/tally.mjs';
import { ADMIN_TOKEN } from './cluster.mjs';

/** Milliseconds within which every replica serves a publish. */
const PUBLISHED_MS = 5000;
/** Epochs of a training that is there to be interrupted. */
const LONG = 40;
const RAW = { 'content-type': 'application/octet-stream' };
const PIXELS = Buffer.alloc(8 * 8 * 3, 30);

export async function training(cluster, report) {
  const operator = new Operator({ url: cluster.url }, ADMIN_TOKEN, new Tally(), uniform(1));
  await operator.upload();
  const { status, json, text } = await operator.ask('POST', '/admin/train', operator.training({ epochs: 8 }));
  if (status !== 202) return report.add('a training is accepted through the balancer', `${status} ${text}`, false);
  const { id } = json.job;
  const seen = await Promise.all(cluster.replicas.map((replica) => knows(replica, id)));
  report.add(
    'a training is known to every replica',
    seen.join(', '),
    seen.every((known) => known === 200),
  );

  const stream = await follow(cluster, id);
  report.add(
    'its events stream through nginx',
    `${stream.events} events in ${stream.pieces} pieces, the first while the job was ${stream.first}, the last ${stream.last}`,
    stream.pieces > 1 && stream.first !== 'succeeded' && stream.last === 'succeeded',
  );
  const ended = performance.now();
  const times = await Promise.all(cluster.replicas.map((replica) => serves(replica, ended)));
  report.add(
    'every replica serves what it published within 5 s',
    times.map((ms) => (ms === null ? 'never' : `${ms.toFixed(0)} ms`)).join(', '),
    times.every((ms) => ms !== null && ms < PUBLISHED_MS),
  );
  await rollBack(cluster, report, operator);
  await trainerKilled(cluster, report, operator);
}

async function knows(replica, id) {
  const response = await fetch(`${replica.url}/admin/jobs/${id}`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
  });
  await response.arrayBuffer();
  return response.status;
}

/** Reads the job's events until their end. */
async function follow(cluster, id) {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const response = await fetch(`${cluster.url}/admin/jobs/${id}/events`, { headers });
  const found = { events: 0, pieces: 0, first: null, last: null };
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    const text = decoder.decode(chunk, { stream: true });
    found.pieces++;
    found.events += text.match(/^id: /gm)?.length ?? 0;
    for (const [, state] of text.matchAll(/"state":"(\w+)"/g)) {
      found.first ??= state;
      found.last = state;
    }
  }
  return found;
}

/** Milliseconds after `since` at which a replica answers with the model, whichever version; null: it never did. */
async function serves(replica, since, wanted = () => true) {
  for (const end = performance.now() + 4 * PUBLISHED_MS; performance.now() < end; await sleep(20)) {
    const response = await fetch(`${replica.url}/predict?model=${MODEL}&bits=4`, {
      method: 'POST',
      headers: RAW,
      body: PIXELS,
    });
    const answer = await response.json();
    if (response.ok && wanted(answer)) return performance.now() - since;
  }
  return null;
}

/** A second version, and `current` back to the first, through one replica only. */
async function rollBack(cluster, report, operator) {
  const { json } = await operator.ask('POST', '/admin/train', operator.training({ epochs: 2 }));
  const job = await finished(operator, json.job.id);
  const { version } = (await operator.ask('GET', `/models/${MODEL}`)).json;
  const { status } = await operator.ask('POST', `/admin/models/${MODEL}/current`, { version: 1 });
  const moved = performance.now();
  const times = await Promise.all(
    cluster.replicas.map((replica) => serves(replica, moved, (answer) => answer.version === 1)),
  );
  report.add(
    'and a move of `current` reaches every replica within 5 s',
    `${job?.state}, version ${version} to 1: ${status}, ${times.map((ms) => (ms === null ? 'never' : `${ms.toFixed(0)} ms`)).join(', ')}`,
    status === 200 && times.every((ms) => ms !== null && ms < PUBLISHED_MS),
  );
}

/** SIGKILL of the trainer while it works, and another one in its place. */
async function trainerKilled(cluster, report, operator) {
  const { json } = await operator.ask('POST', '/admin/train', operator.training({ epochs: LONG }));
  const { id } = json.job;
  for (let job; job?.state !== 'running'; await sleep(50))
    ({ job } = (await operator.ask('GET', `/admin/jobs/${id}`)).json);
  await cluster.trainer.stop('SIGKILL');
  await cluster.trainer.start();
  const job = await finished(operator, id);
  report.add(
    'the job of a killed trainer is taken up by the next',
    job ? `${job.state} in attempt ${job.attempts}` : 'it did not end',
    job?.state === 'succeeded' && job.attempts > 1,
  );
}

async function finished(operator, id, ms = 120_000) {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(100)) {
    const job = await operator.ended(id);
    if (job) return job;
  }
  return null;
}
