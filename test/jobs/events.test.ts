import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import { EventLog } from '../../src/jobs/event-log.js';
import type { JobEvent, JobState } from '../../src/jobs/job.js';
import { ended, eventsOf, openQueue, request, temporaryFolder, until } from './fixtures.js';

const never = (): AbortSignal => new AbortController().signal;

function data(state: JobState, attempts: number, step = 0): JobEvent['data'] {
  const progress = {
    phase: 'training',
    progress: 0,
    epoch: 0,
    epochs: 1,
    step,
    steps: 9,
    loss: null,
    accuracy: null,
    norm_weights: null,
    norm_activations: null,
  };
  return { id: 'x', state, attempts, progress: { ...progress, eta_s: null }, result: null, error: null, backend: null };
}

function continuous(events: JobEvent[], from = 1): void {
  assert.deepEqual(
    events.map((e) => e.id),
    events.map((_e, i) => from + i),
  );
}

async function all(log: EventLog, afterId = 0): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of log.read(afterId, never())) events.push(event);
  return events;
}

describe('event log', () => {
  it('counts from 1, continues after a restart and repairs a torn last line wherever it is torn', async (t) => {
    const path = join(temporaryFolder(t), 'x.events.ndjson');
    let log = await EventLog.open(path);
    await log.appendState(data('queued', 0));
    await log.appendState(data('running', 1));
    const whole = readFileSync(path);
    await log.appendProgress(data('running', 1, 1));
    const full = readFileSync(path);
    for (let size = whole.length; size <= full.length; size++) {
      writeFileSync(path, full);
      truncateSync(path, size);
      log = await EventLog.open(path);
      assert.equal(readFileSync(path).length, size === full.length ? size : whole.length);
      await log.appendState(data('succeeded', 1));
      const events = await all(log);
      continuous(events);
      assert.equal(events.length, size === full.length ? 4 : 3);
      assert.equal(events.at(-1)?.data.state, 'succeeded');
    }
  });

  it('leaves out a line in the midst that a disk fault spoiled', async (t) => {
    const path = join(temporaryFolder(t), 'x.events.ndjson');
    const log = await EventLog.open(path);
    await log.appendState(data('queued', 0));
    appendFileSync(path, '\0\0\0\0not json\n');
    const again = await EventLog.open(path);
    await again.appendState(data('cancelled', 0));
    assert.deepEqual(
      (await all(again)).map((e) => [e.id, e.data.state]),
      [
        [1, 'queued'],
        [2, 'cancelled'],
      ],
    );
  });

  it('does not repeat a state that it ends with', async (t) => {
    const path = join(temporaryFolder(t), 'x.events.ndjson');
    const log = await EventLog.open(path);
    await log.appendState(data('queued', 0));
    await log.appendState(data('queued', 0));
    await (await EventLog.open(path)).appendState(data('queued', 0));
    assert.equal(readFileSync(path, 'utf8').split('\n').length, 2);
  });

  it('gives every reader each event once, wherever and whenever it begins', async (t) => {
    const path = join(temporaryFolder(t), 'x.events.ndjson');
    const log = await EventLog.open(path);
    const readers: Promise<void>[] = [];
    const total = 300;
    const begin = (afterId: number, slow: boolean): void => {
      const read = async (): Promise<void> => {
        const events: JobEvent[] = [];
        for await (const event of log.read(afterId, never())) {
          events.push(event);
          if (slow) await tick();
        }
        continuous(events, afterId + 1);
        assert.equal(events.at(-1)?.id, total);
      };
      readers.push(read());
    };
    await log.appendState(data('running', 1));
    for (let id = 2; id < total; id++) {
      // Not awaited: the reader begins in the midst of the write.
      const written = log.appendProgress(data('running', 1, id));
      if (id % 3 === 0) begin(Math.floor(Math.random() * id), id % 2 === 0);
      await written;
      if (id % 7 === 0) begin(id, false);
    }
    await log.appendState(data('succeeded', 1));
    begin(0, false);
    begin(total - 1, false);
    await Promise.all(readers);
    assert.deepEqual(await all(log, total), [], 'nothing after the last');
  });

  it('reads lines longer than a read', async (t) => {
    const log = await EventLog.open(join(temporaryFolder(t), 'x.events.ndjson'));
    const message = 'é'.repeat(100_000);
    await log.appendState({ ...data('failed', 1), error: { code: 'x', message } });
    assert.equal((await all(log))[0].data.error?.message, message);
  });

  it('ends on abort and on stop, also while it waits, and before it began', async (t) => {
    const log = await EventLog.open(join(temporaryFolder(t), 'x.events.ndjson'));
    await log.appendState(data('queued', 0));
    const abort = new AbortController();
    const first = log.read(0, abort.signal);
    assert.equal((await first.next()).value?.id, 1);
    const waiting = first.next();
    abort.abort();
    assert.equal((await waiting).done, true);
    assert.equal((await log.read(0, abort.signal).next()).done, true);
    const second = log.read(1, never()).next();
    log.stop();
    assert.equal((await second).done, true);
  });

  it('counts an id past the end as the end', async (t) => {
    const log = await EventLog.open(join(temporaryFolder(t), 'x.events.ndjson'));
    await log.appendState(data('queued', 0));
    const events = all(log, 1000);
    await log.appendState(data('cancelled', 0));
    assert.deepEqual(
      (await events).map((e) => e.id),
      [2],
    );
  });
});

describe('events of a job', () => {
  it('tell its life in order: states, progress between them, the end', async (t) => {
    const { queue } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 5, stepMs: 5 }), null);
    const events = await eventsOf(queue, job.id);
    continuous(events);
    const states = events.filter((e) => e.type === 'state').map((e) => e.data.state);
    assert.deepEqual(states, ['queued', 'running', 'succeeded']);
    assert.ok(events.some((e) => e.type === 'progress' && e.data.progress.step > 0));
    assert.ok(events.slice(2, -1).every((e) => e.type === 'progress' && e.data.state === 'running'));
    assert.equal(events.at(-1)?.data.result?.version, 1);
    const after = await eventsOf(queue, job.id, 2);
    assert.deepEqual(after, events.slice(2), 'from the log it is the same');
  });

  it('come to many at once, with the same content for all', async (t) => {
    const { queue } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 40, stepMs: 2 }), null);
    const readers = await Promise.all(Array.from({ length: 20 }, () => eventsOf(queue, job.id)));
    continuous(readers[0]);
    for (const events of readers) assert.deepEqual(events, readers[0]);
  });

  it('are thinned out: a progress event at most in each interval', async (t) => {
    const { queue } = await openQueue(t, { progressIntervalMs: 100 });
    const { job } = await queue.submit(request({ steps: 300, stepMs: 1 }), null);
    await ended(queue, job.id);
    const times = (await eventsOf(queue, job.id)).filter((e) => e.type === 'progress').map((e) => Date.parse(e.at));
    assert.ok(times.length >= 2, 'some');
    const span = Number(times.at(-1)) - times[0];
    assert.ok(times.length - 1 <= span / 100 + 2, `${times.length} events in ${span} ms`);
    assert.equal((await queue.get(job.id)).progress.step, 300, 'the record itself has the last step');
  });

  it('let go of a reader that aborts while the job goes on', async (t) => {
    const { queue } = await openQueue(t);
    const { job } = await queue.submit(request({ steps: 100_000, stepMs: 2 }), null);
    const abort = new AbortController();
    let seen = 0;
    for await (const event of queue.events(job.id, 0, abort.signal)) {
      seen = event.id;
      if (seen === 5) abort.abort();
    }
    assert.equal(seen, 5);
    await until('it goes on', async () => (await queue.get(job.id)).progress.step > 20);
    await queue.cancel(job.id);
    assert.equal((await ended(queue, job.id)).state, 'cancelled');
  });
});
