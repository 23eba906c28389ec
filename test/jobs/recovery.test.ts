import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { EmbeddedQueue } from '../../src/jobs/embedded.js';
import type { Job } from '../../src/jobs/job.js';
import { Journal } from '../../src/jobs/journal.js';
import type { JobRecord } from '../../src/jobs/record.js';
import { accepted, started } from '../../src/jobs/transitions.js';
import { FakeStore } from './fake-store.js';
import {
  ended,
  eventsOf,
  keepingLogger,
  openQueue,
  options,
  request,
  runs,
  type Script,
  temporaryFolder,
  until,
} from './fixtures.js';
import { QueueChild } from './queue-child.js';

/** A queue on a folder as a kill left it: with these records and nothing else. */
async function reopened(t: TestContext, records: JobRecord[], before = (_dataDir: string): void => undefined) {
  const dataDir = temporaryFolder(t);
  const journal = await Journal.open(join(dataDir, 'jobs'));
  for (const record of records) await journal.save(record);
  before(dataDir);
  return openQueue(t, { dataDir });
}

const id = (n: number): string => `01hzzzzzz${n}aaaaaaaaaaaaaaaa`;
const queued = (n: number, script: Script = {}): JobRecord => accepted(id(n), request(script), null, '');

describe('a queue that opens after a kill', () => {
  it('runs the one that was running first, then the others in their order', async (t) => {
    const records = [queued(1), queued(2), started(queued(3)), queued(4)];
    const { queue, dataDir } = await reopened(t, records);
    for (const { job } of records) assert.equal((await ended(queue, job.id)).state, 'succeeded');
    const begun = runs(dataDir).filter((l) => l.startsWith('begin'));
    assert.deepEqual(begun, [`begin ${id(3)} 2`, `begin ${id(1)} 1`, `begin ${id(2)} 1`, `begin ${id(4)} 1`]);
    const events = await eventsOf(queue, id(3));
    assert.deepEqual(
      events.filter((e) => e.type === 'state').map((e) => [e.data.state, e.data.attempts]),
      [
        // The log had not got so far when the kill came.
        ['running', 1],
        ['queued', 1],
        ['running', 2],
        ['succeeded', 2],
      ],
    );
  });

  it('gives up a job whose process died in its third attempt, and says so', async (t) => {
    const third = { ...started(queued(1)), deaths: 2 };
    const { queue, dataDir } = await reopened(t, [third, queued(2)]);
    const job = await ended(queue, id(1));
    assert.equal(job.state, 'failed');
    assert.equal(job.error?.code, 'interrupted');
    assert.match(job.error?.message ?? '', /3 times.*the process died/);
    assert.equal((await ended(queue, id(2))).state, 'succeeded');
    assert.equal(
      runs(dataDir).some((l) => l.includes(id(1))),
      false,
    );
  });

  it('keeps a cancelled job cancelled', async (t) => {
    const { queue, dataDir } = await reopened(t, [{ ...started(queued(1)), cancelRequested: true }]);
    assert.equal((await ended(queue, id(1))).state, 'cancelled');
    assert.deepEqual(runs(dataDir), []);
  });

  for (const cancelRequested of [false, true]) {
    for (const deaths of [0, 2]) {
      const how = `${cancelRequested ? ', cancelled' : ''}${deaths > 0 ? ', for the third time' : ''}`;
      it(`does not publish twice when the kill came after publishing${how}`, async (t) => {
        const record = { ...started(queued(1)), cancelRequested, deaths };
        const { queue, store, dataDir } = await reopened(t, [record], (folder) => {
          const before = new FakeStore(folder);
          before.publish('net', 'another');
          before.setCurrentNow('net', 1);
          before.publish('net', id(1));
        });
        const job = await ended(queue, id(1));
        assert.equal(job.state, 'succeeded');
        assert.deepEqual(job.result, { model: 'net', version: 2, digest: 'digest-2', accuracies: { '4x4': 0.5 } });
        assert.deepEqual(store.jobs('net'), ['another', id(1)]);
        assert.equal(store.current('net'), 2, 'it is current, also where the kill came before that');
        assert.deepEqual(runs(dataDir), []);
      });
    }
  }

  it('does not turn back what was made current after the job published', async (t) => {
    const { queue, store } = await reopened(t, [started(queued(1))], (folder) => {
      const before = new FakeStore(folder);
      before.publish('net', id(1));
      before.publish('net', 'newer');
      before.setCurrentNow('net', 2);
    });
    assert.equal((await ended(queue, id(1))).result?.version, 1);
    assert.equal(store.current('net'), 2);
  });

  it('adds to an event log the state that the kill left out', async (t) => {
    const done: Job = { ...started(queued(1)).job, state: 'cancelled', finished_at: new Date().toISOString() };
    const { queue } = await reopened(t, [{ deaths: 0, cancelRequested: true, checkpoint: null, job: done }]);
    const [first, second] = await Promise.all([eventsOf(queue, id(1)), eventsOf(queue, id(1))]);
    assert.deepEqual(
      first.map((e) => [e.id, e.data.state]),
      [[1, 'cancelled']],
    );
    assert.deepEqual(second, first);
  });

  it('is not kept from the others by a broken file', async (t) => {
    const { queue } = await reopened(t, [queued(2)], (folder) => {
      writeFileSync(join(folder, 'jobs', `${id(1)}.json`), '{"format":"bitdial-job/1","job":{"id":');
    });
    assert.equal((await ended(queue, id(2))).state, 'succeeded');
    await assert.rejects(queue.get(id(1)), { code: 'job_not_found' });
  });

  it('has a cancel that was accepted before a kill -9', async (t) => {
    const dataDir = temporaryFolder(t);
    const child = new QueueChild(dataDir);
    child.send({ kind: 'submit', key: 'k', script: { steps: 100_000, stepMs: 5, deaf: true } });
    const answer = await child.answered((a) => a.kind === 'accepted');
    assert.ok(answer.kind === 'accepted');
    await until('it runs', () => runs(dataDir).some((l) => l.startsWith('step')));
    child.send({ kind: 'cancel', id: answer.id });
    await child.answered((a) => a.kind === 'cancelled');
    await child.kill();
    const { queue } = await openQueue(t, { dataDir });
    assert.equal((await queue.get(answer.id)).state, 'cancelled');
  });

  it('gives up a job that kills the whole process each time, after 3 attempts', async (t) => {
    const dataDir = temporaryFolder(t);
    for (let i = 0; i < 3; i++) {
      const child = new QueueChild(dataDir);
      if (i === 0) child.send({ kind: 'submit', key: 'k', script: { crashAt: 'step', how: 'kill' } });
      await child.gone;
    }
    const { queue } = await openQueue(t, { dataDir });
    const [job] = await queue.list();
    assert.deepEqual([job.state, job.attempts, job.error?.code], ['failed', 3, 'interrupted']);
  });
});

describe('a disk that fails for a while', () => {
  it('costs the job nothing: its end is recorded when the disk is back', async (t) => {
    const logger = keepingLogger();
    const { queue, dataDir } = await openQueue(t, { logger });
    const { job } = await queue.submit(request({ steps: 3, stepMs: 50 }), null);
    await until('a step', () => runs(dataDir).some((l) => l.startsWith('step-1')));
    renameSync(join(dataDir, 'jobs'), join(dataDir, 'away'));
    await until('it complains', () => logger.lines.some((l) => l.level === 'error'));
    await assert.rejects(queue.submit(request(), 'key'), { code: 'ENOENT' });
    assert.equal((await queue.get(job.id)).state, 'running');
    renameSync(join(dataDir, 'away'), join(dataDir, 'jobs'));
    const done = await ended(queue, job.id);
    assert.deepEqual([done.state, done.attempts], ['succeeded', 1]);
    assert.equal((await queue.submit(request(), 'key')).created, true, 'the key is not used up');
  });
});

describe('two queues on one folder', () => {
  it('are refused, in one process and in two', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    await assert.rejects(EmbeddedQueue.open(options(dataDir)), /in use by another process/);
    const child = new QueueChild(dataDir);
    const answer = await child.answered((a) => a.kind === 'refused' || a.kind === 'open');
    assert.match(
      answer.kind === 'refused' ? answer.message : 'it opened',
      /in use by another process.*DATA_DIR.*REDIS_URL/,
    );
    const { job } = await queue.submit(request(), null);
    assert.equal((await ended(queue, job.id)).state, 'succeeded', 'the first goes on');
  });
});
