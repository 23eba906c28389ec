import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { isJobId, JobIds } from '../../src/jobs/identifier.js';
import { Journal } from '../../src/jobs/journal.js';
import type { JobRecord } from '../../src/jobs/record.js';
import { accepted, started } from '../../src/jobs/transitions.js';
import { hashOf } from '../../src/model/digest.js';
import { temporaryName } from '../../src/model/temporary.js';
import { keepingLogger, request, temporaryFolder } from './fixtures.js';

const ids = new JobIds();

function record(): JobRecord {
  return accepted(ids.next(), request(), null, hashOf(request()));
}

async function journalOn(t: TestContext): Promise<{ journal: Journal; folder: string }> {
  const folder = join(temporaryFolder(t), 'a', 'jobs');
  return { journal: await Journal.open(folder), folder };
}

describe('journal', () => {
  it('gives back what it was given, oldest first, and leaves no other files', async (t) => {
    const { journal, folder } = await journalOn(t);
    const records = Array.from({ length: 70 }, record);
    records[3] = { ...started(records[3]), deaths: 2, cancelRequested: true };
    await Promise.all([...records].reverse().map((r) => journal.save(r)));
    await journal.save(records[3]);
    const logger = keepingLogger();
    assert.deepEqual(await (await Journal.open(folder)).load(logger), records);
    assert.deepEqual(
      readdirSync(folder).sort(),
      records.map((r) => `${r.job.id}.json`),
    );
    assert.deepEqual(logger.lines, []);
  });

  it('sets broken files aside with a warning, and loses no other', async (t) => {
    const { journal, folder } = await journalOn(t);
    const good = record();
    await journal.save(good);
    const whole = readFileSync(join(folder, `${good.job.id}.json`), 'utf8');
    const change = (edit: (file: { job: Record<string, unknown>; [key: string]: unknown }) => void, id: string) => {
      const file = JSON.parse(whole);
      file.job.id = id;
      edit(file);
      return JSON.stringify(file);
    };
    const broken: [string, (id: string) => string][] = [
      ['nothing in it', () => ''],
      ['half of it', (id) => change(() => undefined, id).slice(0, 200)],
      ['zeroes', () => '\0'.repeat(500)],
      ['not an object', () => 'null'],
      ['the id of another', () => whole],
      [
        'another format',
        (id) =>
          change((f) => {
            f.format = 'x/9';
          }, id),
      ],
      [
        'a state that is none',
        (id) =>
          change((f) => {
            f.job.state = 'asleep';
          }, id),
      ],
      [
        'no request',
        (id) =>
          change((f) => {
            delete f.job.request;
          }, id),
      ],
      [
        'no attempts',
        (id) =>
          change((f) => {
            f.job.attempts = 'two';
          }, id),
      ],
      [
        'no deaths',
        (id) =>
          change((f) => {
            delete f.deaths;
          }, id),
      ],
    ];
    const names = broken.map(([, make]) => {
      const id = ids.next();
      writeFileSync(join(folder, `${id}.json`), make(id));
      writeFileSync(join(folder, `${id}.events.ndjson`), 'kept\n');
      return id;
    });
    mkdirSync(join(folder, `${ids.next()}.json`));
    writeFileSync(join(folder, 'README.json'), '{}');
    const logger = keepingLogger();
    assert.deepEqual(await journal.load(logger), [good]);
    for (const [i, id] of names.entries()) {
      assert.ok(existsSync(join(folder, `${id}.json.broken`)), broken[i][0]);
      assert.ok(existsSync(join(folder, `${id}.events.ndjson`)), broken[i][0]);
    }
    assert.equal(logger.lines.filter((l) => l.level === 'warn').length, broken.length + 2);
    assert.deepEqual(await journal.load(keepingLogger()), [good], 'and so again');
  });

  it('sweeps up what a kill leaves: half-written files and events of removed jobs', async (t) => {
    const { journal, folder } = await journalOn(t);
    const good = record();
    await journal.save(good);
    const kept = journal.eventsPath(good.job.id);
    writeFileSync(kept, '');
    writeFileSync(join(folder, temporaryName()), '{"half":');
    writeFileSync(journal.eventsPath(ids.next()), '');
    await journal.load(keepingLogger());
    assert.deepEqual(readdirSync(folder).sort(), [`${good.job.id}.events.ndjson`, `${good.job.id}.json`].sort());
    await journal.remove(good.job.id);
    await journal.remove(good.job.id);
    assert.deepEqual(readdirSync(folder), []);
  });
});

describe('job ids', () => {
  it('sort by time, never repeat, and go on after the newest even when the clock is behind', () => {
    const made = Array.from({ length: 2000 }, () => ids.next());
    assert.deepEqual([...made].sort(), made);
    assert.ok(made.every(isJobId));
    assert.equal(new Set(made.map((id) => id.slice(10))).size, made.length, 'the random part differs');
    const future = `7${'z'.repeat(8)}0${'0'.repeat(16)}`;
    const after = new JobIds(future);
    const next = after.next();
    assert.ok(next > future && after.next() > next && isJobId(next));
  });

  it('are told from other texts', () => {
    for (const text of ['', '..', 'a/b', ids.next().toUpperCase(), `${ids.next()}0`, 'i'.repeat(26)]) {
      assert.equal(isJobId(text), false, text);
    }
  });
});
