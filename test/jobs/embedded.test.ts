import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ended, openQueue, request, until } from './fixtures.js';

/** What is the embedded queue's own: its files. The rest is in conformance.test.ts. */
describe('the files of the embedded queue', () => {
  it('hold a job before it is accepted, however many come at once', async (t) => {
    const { queue, dataDir } = await openQueue(t);
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { job } = await queue.submit(request(), 'once');
        return JSON.parse(readFileSync(join(dataDir, 'jobs', `${job.id}.json`), 'utf8'));
      }),
    );
    for (const { job } of answers) assert.deepEqual([job.id, job.request], [answers[0].job.id, request()]);
    const { queue: other, dataDir: folder } = await openQueue(t);
    const submits = Array.from({ length: 10 }, () => other.submit(request(), null));
    await other.close();
    for (const { job } of await Promise.all(submits)) assert.ok(existsSync(join(folder, 'jobs', `${job.id}.json`)));
  });

  it('are gone with a job that is forgotten', async (t) => {
    const { queue, dataDir } = await openQueue(t, { maxJobs: 1 });
    const first = await queue.submit(request({ steps: 1 }), null);
    await ended(queue, first.job.id);
    await ended(queue, (await queue.submit(request({ steps: 1 }), null)).job.id);
    await until('they are gone', () => !existsSync(join(dataDir, 'jobs', `${first.job.id}.events.ndjson`)));
    assert.equal(existsSync(join(dataDir, 'jobs', `${first.job.id}.json`)), false);
  });
});
