import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FolderLock } from '../../src/jobs/folder-lock.js';
import { temporaryFolder } from './fixtures.js';

/** A process that takes the lock as soon as it is told to. */
function holder(folder: string): ChildProcess {
  return fork(fileURLToPath(new URL('./lock-process.js', import.meta.url)), [folder], { stdio: 'inherit' });
}

describe('folder lock', () => {
  it('has one holder, and is free after release', async (t) => {
    const folder = temporaryFolder(t);
    const first = await FolderLock.acquire(folder);
    await assert.rejects(FolderLock.acquire(folder), /in use by another process/);
    await first.release();
    const second = await FolderLock.acquire(folder);
    await second.release();
    assert.deepEqual(readdirSync(folder), []);
  });

  it('has one holder of many that begin at once', async (t) => {
    const folder = temporaryFolder(t);
    for (let round = 0; round < 5; round++) {
      const tries = await Promise.allSettled(Array.from({ length: 8 }, () => FolderLock.acquire(folder)));
      const held = tries.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
      assert.equal(held.length, 1);
      await held[0].release();
    }
    assert.deepEqual(readdirSync(folder), []);
  });

  it('is free at once after kill -9 of its holder, and of many processes one gets it', async (t) => {
    const folder = temporaryFolder(t);
    for (let round = 0; round < 4; round++) {
      const children = Array.from({ length: 4 }, () => holder(folder));
      const exits = children.map((c) => once(c, 'exit'));
      const answers = await Promise.all(children.map(async (c) => (await once(c, 'message'))[0] as string));
      assert.deepEqual(answers.sort(), ['held', 'refused', 'refused', 'refused']);
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(exits);
    }
    assert.ok(readdirSync(folder).length >= 1, 'the dead left their sockets');
    const lock = await FolderLock.acquire(folder);
    assert.equal(readdirSync(folder).length, 1, 'which are swept up');
    await lock.release();
  });

  it('works on a path that is longer than a socket address can be', async (t) => {
    const folder = join(temporaryFolder(t), 'x'.repeat(100), 'y'.repeat(100));
    mkdirSync(folder, { recursive: true });
    const first = await FolderLock.acquire(folder);
    await assert.rejects(FolderLock.acquire(folder), /in use/);
    await first.release();
    assert.deepEqual(readdirSync(folder), []);
  });

  it('leaves other files alone, and says what is wrong with a folder that takes no sockets', async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'lockless.json'), '');
    await (await FolderLock.acquire(folder)).release();
    assert.deepEqual(readdirSync(folder), ['lockless.json']);
    await assert.rejects(FolderLock.acquire(join(folder, 'absent')), { code: 'ENOENT' });
  });
});
