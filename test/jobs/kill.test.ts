import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeStore } from './fake-store.js';
import { ended, eventsOf, openQueue, runs, temporaryFolder } from './fixtures.js';
import { QueueChild } from './queue-child.js';

const ROUNDS = 24;

it('no accepted job is lost, run to its end twice or published twice, whenever the process is killed', async (t) => {
  const dataDir = temporaryFolder(t);
  const accepted = new Map<string, string>();
  let sent = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const child = new QueueChild(dataDir, { maxDeaths: 1000 });
    await child.answered((a) => a.kind === 'open');
    // Every second kill waits for a job to be accepted, for on a busy machine the others may come before any is.
    const begun = round % 2 === 0 ? child.answered((a) => a.kind === 'accepted') : Promise.resolve();
    const kill = begun.then(() => sleep(Math.random() * 120)).then(() => child.kill());
    let stop = false;
    void kill.then(() => {
      stop = true;
    });
    while (!stop) {
      // Each key is used twice, so that a kill can come between the first and the second.
      for (const key of [`key-${sent}`, `key-${sent}`]) {
        child.send({ kind: 'submit', key, script: { steps: 3, stepMs: 4 } });
      }
      sent++;
      await sleep(20);
    }
    await kill;
    for (const answer of child.answers) {
      if (answer.kind !== 'accepted') continue;
      const before = accepted.get(answer.key);
      assert.ok(before === undefined || before === answer.id, 'one job for a key');
      accepted.set(answer.key, answer.id);
    }
  }
  assert.ok(accepted.size >= ROUNDS / 2, `${accepted.size} accepted`);

  const { queue } = await openQueue(t, { dataDir, maxDeaths: 1000, maxJobs: 10_000 });
  const jobs = await queue.list();
  const published = new FakeStore(dataDir);
  for (const job of jobs) {
    const done = await ended(queue, job.id);
    assert.equal(done.state, 'succeeded');
    const events = await eventsOf(queue, job.id);
    assert.deepEqual(
      events.map((e) => e.id),
      events.map((_e, i) => i + 1),
      'ids without gaps',
    );
    assert.equal(events.filter((e) => e.data.state === 'succeeded').length, 1);
    assert.equal(events.at(-1)?.data.state, 'succeeded');
    assert.equal(events.filter((e) => e.type === 'state' && e.data.state === 'running').length, done.attempts);
  }
  const ids = new Set(jobs.map((j) => j.id));
  for (const [key, id] of accepted) assert.ok(ids.has(id), `${key} was accepted and is lost`);
  // A job may have been stored in the moment before its answer could be sent.
  assert.ok(jobs.length <= sent);
  assert.deepEqual(published.jobs('net').sort(), [...ids].sort(), 'each published once');
  assert.ok(
    jobs.some((j) => j.attempts > 1),
    'the kills hit running jobs',
  );
  // One at a time: between a begin and its end there is no begin but that of a next attempt.
  const begun = runs(dataDir).filter((l) => l.startsWith('begin') || l.startsWith('end'));
  for (const [i, line] of begun.entries()) {
    const [what, id] = line.split(' ');
    if (what === 'end') assert.ok(begun[i - 1].startsWith(`begin ${id}`), line);
  }
  t.diagnostic(`${ROUNDS} kills, ${accepted.size} accepted, ${jobs.filter((j) => j.attempts > 1).length} cut off`);
});
