import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ServiceError } from '../../src/errors.js';
import { type TarLimits, unpackTar } from '../../src/tar.js';
import { longNamed, tarOf } from '../support/archives.js';
import { Random } from '../support/random.js';

const LIMITS: TarLimits = { entries: 100, fileBytes: 1_000_000, totalBytes: 2_000_000 };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-tar-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** In chunks of odd sizes, as a network gives them. */
function inChunks(bytes: Buffer, size = 1000): Readable {
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
  return Readable.from(chunks, { objectMode: false });
}

async function refused(t: TestContext, bytes: Buffer, code: string, detail: RegExp, limits = LIMITS): Promise<void> {
  const folder = folderOf(t);
  await assert.rejects(unpackTar(inChunks(bytes), folder, limits), (error) => {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, detail);
    return true;
  });
}

test('files of all sizes come out as they went in, plain and gzip, whatever the chunks', async (t) => {
  const random = new Random(11);
  const files = [0, 1, 511, 512, 513, 1024, 70_000].map((size, i) => ({
    name: `folder ${i % 3}/${i}/é ${size}.bin`,
    data: Buffer.from(Uint8Array.from({ length: size }, () => random.integer(0, 255))),
  }));
  const archive = tarOf(files);
  for (const bytes of [archive, gzipSync(archive), Buffer.concat([archive, Buffer.alloc(9216)])]) {
    for (const size of [41, 512, 65536]) {
      const folder = folderOf(t);
      const unpacked = await unpackTar(inChunks(bytes, size), folder, LIMITS);
      assert.deepEqual(unpacked, { files: files.length, bytes: files.reduce((n, { data }) => n + data.length, 0) });
      for (const { name, data } of files) assert.deepEqual(readFileSync(join(folder, name)), data, name);
    }
  }
});

test("the system's tar is understood: folders, ./, long names", async (t) => {
  const [from, to] = [folderOf(t), folderOf(t)];
  const long = `${'deep'.repeat(20)}/${'name'.repeat(40)}.txt`;
  await mkdir(join(from, 'deep'.repeat(20)));
  await writeFile(join(from, long), 'long');
  await writeFile(join(from, 'model.json'), '{}');
  const { status, stdout } = spawnSync('tar', ['-C', from, '-cz', '.'], { maxBuffer: 1e7 });
  if (status !== 0) return t.skip('no tar here');
  assert.deepEqual(await unpackTar(inChunks(stdout), to, LIMITS), { files: 2, bytes: 6 });
  assert.equal(readFileSync(join(to, long), 'utf8'), 'long');
  const again = folderOf(t);
  await unpackTar(inChunks(longNamed(`a/${'b'.repeat(200)}`, 'pax')), again, LIMITS);
  assert.equal(readFileSync(join(again, 'a', 'b'.repeat(200)), 'utf8'), 'pax');
});

test('what macOS adds is left out', async (t) => {
  const folder = folderOf(t);
  const archive = tarOf([
    { name: 'a/._x.png', data: 'x' },
    { name: 'a/x.png', data: 'y' },
  ]);
  assert.equal((await unpackTar(inChunks(archive), folder, LIMITS)).files, 1);
  assert.deepEqual(readdirSync(join(folder, 'a')), ['x.png']);
});

test('nothing but files and folders below the folder', async (t) => {
  const names = ['/etc/passwd', '../up', 'a/../../up', 'a\\b', 'C:/x', 'a\u0001b', `${'a/'.repeat(40)}b`];
  for (const name of names) await refused(t, tarOf([{ name, data: 'x' }]), 'bad_archive', /names|levels/);
  await refused(t, longNamed(`../${'b'.repeat(200)}`, 'x'), 'bad_archive', /without "\.\."/);
  await refused(t, longNamed('b'.repeat(300), 'x'), 'bad_archive', /at most 255 bytes/);
  // each part is short enough, and the whole too long for the system
  await refused(
    t,
    longNamed(`${`${'b'.repeat(250)}/`.repeat(15)}${'b'.repeat(250)}`, 'x'),
    'bad_archive',
    /at most 1024 bytes/,
  );
  for (const type of ['1', '2', '3', '4', '6']) {
    await refused(
      t,
      tarOf([{ name: 'link', type, link: '/etc/passwd' }]),
      'bad_archive',
      /files and folders|tar archive/,
    );
  }
  await refused(t, tarOf([{ name: 'x', type: 'S', data: 'x' }]), 'bad_archive', /files and folders/);
  await refused(
    t,
    tarOf([
      { name: 'x', data: 'x' },
      { name: './x', data: 'y' },
    ]),
    'bad_archive',
    /each name once/,
  );
  await refused(
    t,
    tarOf([
      { name: 'x', data: 'x' },
      { name: 'x/y', data: 'y' },
    ]),
    'bad_archive',
    /each name once/,
  );
});

test('damage is named', async (t) => {
  const archive = tarOf([{ name: 'a', data: Buffer.alloc(5000, 1) }]);
  await refused(t, Buffer.alloc(0), 'bad_archive', /whole tar/);
  await refused(t, Buffer.from('{}'), 'bad_archive', /whole tar/);
  await refused(t, Buffer.alloc(4096, 0x61), 'bad_archive', /whole tar/);
  await refused(t, archive.subarray(0, 3000), 'bad_archive', /Truncated/);
  await refused(t, tarOf([{ name: 'a', data: 'x' }], false), 'bad_archive', /without an end/);
  const packed = gzipSync(archive);
  await refused(t, packed.subarray(0, packed.length - 9), 'bad_archive', /whole gzip/);
  await refused(t, gzipSync(packed), 'bad_archive', /another kind of compression/);
  await refused(t, Buffer.concat([packed.subarray(0, 20), Buffer.alloc(60, 7)]), 'bad_archive', /whole gzip/);
  const broken = Buffer.from(archive);
  broken[3] ^= 0xff;
  await refused(t, broken, 'bad_archive', /whole tar/);
});

test('limits hold before anything is written beyond them', async (t) => {
  const many = Array.from({ length: 101 }, (_, i) => ({ name: `f${i}` }));
  await refused(t, tarOf(many), 'body_too_large', /at most 100 files/);
  // 10 files, each with 14 folders of its own that no entry stands for
  const nested = Array.from({ length: 10 }, (_, i) => ({ name: `${i}/${'d/'.repeat(13)}f` }));
  await refused(t, tarOf(nested), 'body_too_large', /at most 100 files and folders/);
  const shared = Array.from({ length: 86 }, (_, i) => ({ name: `${'d/'.repeat(14)}f${i}` }));
  assert.equal((await unpackTar(inChunks(tarOf(shared)), folderOf(t), LIMITS)).files, 86);
  const again = Array.from({ length: 101 }, () => ({ name: 'a/', type: '5' }));
  await refused(t, tarOf(again), 'body_too_large', /at most 100 files and folders/);
  await refused(t, tarOf([{ name: 'a', size: 1e9 }]), 'body_too_large', /at most 1000000 bytes a file/);
  const half = { data: Buffer.alloc(900_000) };
  const three = ['a', 'b', 'c'].map((name) => ({ name, ...half }));
  await refused(t, gzipSync(tarOf(three)), 'body_too_large', /at most 2000000 bytes of files/);
  await refused(t, gzipSync(Buffer.alloc(50_000_000)), 'body_too_large', /bytes, unpacked/);
  const meta = { name: 'PaxHeader', type: 'x', data: Buffer.alloc(100_000, 0x20) };
  await refused(t, tarOf([meta, { name: 'a' }]), 'bad_archive', /headers of at most/);
});

test('a refused archive leaves its source readable, and a source that breaks off is said', async (t) => {
  const bytes = Buffer.concat([tarOf([{ name: '../x' }]), Buffer.alloc(300_000)]);
  const source = inChunks(bytes);
  await assert.rejects(unpackTar(source, folderOf(t), LIMITS), { code: 'bad_archive' });
  assert.equal(source.destroyed, false);
  source.resume();
  const broken = new Readable({ read() {} });
  broken.push(tarOf([{ name: 'x', data: 'y' }], false));
  setImmediate(() => broken.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' })));
  await assert.rejects(unpackTar(broken, folderOf(t), LIMITS), { code: 'bad_request' });
});
