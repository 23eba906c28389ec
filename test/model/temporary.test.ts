import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeLeftoversIn, temporaryName } from '../../src/model/temporary.js';

test('what a living process writes stays, however long it takes; of other machines only what is new does', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-leftovers-'));
  const other = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => {
    other.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const own = temporaryName();
  const of = (pid: number | undefined, tail: string, host = own.slice(5, 13)) => `.tmp-${host}-${pid}-${tail}`;
  const old = new Date(Date.now() - 7_200_000);
  const make = async (name: string, at?: Date) => {
    await mkdir(join(folder, name));
    if (at) await utimes(join(folder, name), at, at);
    return name;
  };
  const kept = [
    await make(own),
    await make(of(other.pid, 'aa'), old),
    await make(of(other.pid, 'bb')),
    await make(of(1, 'cc', '00000000')),
    await make('.other', old),
  ];
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  await make(of(dead, 'dd'));
  await make(of(1, 'ee', '00000000'), old);
  // Of one that had this id before this one began.
  await make(of(process.pid, 'ff'), old);
  removeLeftoversIn(folder);
  assert.deepEqual(readdirSync(folder).sort(), kept.sort());
});
