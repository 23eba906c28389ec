import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROJECT_ROOT } from '../../src/config.js';

test('without a compiler the build says so in one line and succeeds, unless it is required', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'bitdial-path-'));
  const script = join(PROJECT_ROOT, 'scripts/build-native.mjs');
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [script, '--force', ...args], { env: { PATH: empty }, encoding: 'utf8' });
  const lenient = run();
  assert.equal(lenient.status, 0, lenient.stderr);
  assert.match(lenient.stdout, /^bitdial: the native engine was not built \(no C\+\+ compiler[^\n]*\n$/);
  assert.equal(run('--require').status, 1);
  await rm(empty, { recursive: true });
});
