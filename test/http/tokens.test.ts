import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminTokens, parseTokens } from '../../src/http/plugins/tokens.js';
import { testApp } from './app.js';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'bitdial-tokens-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a list of tokens', () => {
  assert.deepEqual(parseTokens(''), []);
  assert.deepEqual(parseTokens('one'), ['one']);
  assert.deepEqual(parseTokens(' one, two '), ['one', 'two']);
  for (const [list, words] of [
    ['one two', /got spaces.* as number 1/],
    ['one,', /got nothing as number 2/],
    [',', /got nothing as number 1/],
    ['one,zwölf', /not ASCII as number 2/],
  ] as const) {
    assert.throws(() => parseTokens(list), words);
    assert.throws(
      () => parseTokens(list),
      (error: Error) => !/one|two|zw/.test(error.message),
      'no token in the message',
    );
  }
});

test('a file of tokens rotates under a running service', async (t) => {
  const path = folder(t);
  // as Kubernetes mounts a secret: a link that is moved to another folder
  const file = join(path, 'tokens');
  const put = (name: string, text: string) => {
    writeFileSync(join(path, name), text);
    symlinkSync(name, join(path, 'next'));
    renameSync(join(path, 'next'), file);
  };
  put('1', '# of the old team\nfiled-old\n');
  const warnings: string[] = [];
  const logger = { warn: (_: object, message: string) => void warnings.push(message) };
  const adminTokens = new AdminTokens({ tokens: ['fixed'], file, logger });
  await adminTokens.open();
  const { http } = await testApp(t, { adminTokens, config: { authFailureLimit: 0 } });
  const opening = async () => {
    await sleep(1050);
    const open = [];
    for (const token of ['fixed', 'filed-old', 'filed-new', '#']) {
      const { status } = await http.get('/admin/jobs').set('authorization', `Bearer ${token}`);
      if (status === 200) open.push(token);
    }
    return open;
  };
  assert.deepEqual(await opening(), ['fixed', 'filed-old']);
  put('2', 'filed-old\r\nfiled-new\r\n');
  assert.deepEqual(await opening(), ['fixed', 'filed-old', 'filed-new']);
  put('3', 'filed-new');
  assert.deepEqual(await opening(), ['fixed', 'filed-new']);
  assert.deepEqual(warnings, []);
  put('4', 'two words\n');
  assert.deepEqual(await opening(), ['fixed', 'filed-new'], 'what cannot be read changes nothing');
  rmSync(file);
  assert.deepEqual(await opening(), ['fixed', 'filed-new']);
  assert.equal(warnings.length, 2, 'once for each reason');
});

test('a file that is not there, empty or wrong does not open', async (t) => {
  const file = join(folder(t), 'tokens');
  const open = () => new AdminTokens({ tokens: [], file }).open();
  await assert.rejects(open(), /ENOENT/);
  writeFileSync(file, '# nothing\n\n');
  await assert.rejects(open(), /expected a token on a line, got none/);
  writeFileSync(file, 'good-one\nbad one\n');
  await assert.rejects(open(), /line 2: expected a token without spaces/);
});
