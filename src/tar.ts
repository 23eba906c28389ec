/** Unpacks tar archives that came from outside, plain or gzip, into a folder: files and folders, nothing else. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Parser } from 'tar/parse';
import type { ReadEntry } from 'tar/read-entry';
import { ServiceError } from './errors.js';

export interface TarLimits {
  /** Files and folders, those that only names say among them. */
  entries: number;
  /** Of one file. */
  fileBytes: number;
  /** Of all files together. */
  totalBytes: number;
}

export interface Unpacked {
  files: number;
  bytes: number;
}

/** What the parser finds in a chunk, in order, for the file system to follow. */
type Step =
  | { do: 'folder'; path: string[]; name: string }
  | { do: 'open'; path: string[]; name: string }
  | { do: 'write'; data: Buffer }
  | { do: 'close' };

const FILES = ['File', 'OldFile', 'ContiguousFile'];
/** Long names live in entries of their own, and no name is so long. */
const MAX_META_BYTES = 64 * 1024;
const MAX_DEPTH = 16;
const MAX_NAME_BYTES = 255;
/** Of a whole path: the data folder's own and this have to be one that the system takes. */
const MAX_PATH_BYTES = 1024;
/** Headers and padding of an entry, and of the archive: what the stream may hold beside its files. */
const OVERHEAD = { entry: 4096, archive: 1024 * 1024 };
/** Kinds of compression that the parser would undo by itself, without a bound: gzip and zstd. */
const COMPRESSED = [Buffer.from([0x1f, 0x8b]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])];

/**
 * Unpacks an archive as it arrives, holding one chunk at a time. Modes, owners and times are not taken over; what macOS
 * adds (`._name`) is left out. When it fails, the folder may hold a part, which is the caller's to remove, and the rest of
 * the source is left unread, the source not destroyed.
 *
 * @param source the archive's bytes
 * @param folder exists and is empty
 * @throws ServiceError `bad_archive`: damaged, cut, a link or device, a name that is absolute or has `..`, a name twice;
 *   `body_too_large`: more than the limits allow; `bad_request` where the source breaks off
 */
export async function unpackTar(source: Readable, folder: string, limits: TarLimits): Promise<Unpacked> {
  // Loaded at the first archive: most services never see one.
  const { Parser } = await import('tar/parse');
  const reader = new Reader(new Parser({ strict: true, maxMetaEntrySize: MAX_META_BYTES }), limits);
  const writer = new Writer(folder);
  const most = limits.totalBytes + limits.entries * OVERHEAD.entry + OVERHEAD.archive;
  let read = 0;
  try {
    for await (const chunk of decompressed(source)) {
      read += chunk.length;
      if (read > most) throw tooLarge(`at most ${most} bytes, unpacked`, 'more');
      for (const step of reader.steps(chunk)) await writer.follow(step);
    }
    reader.end();
    return { files: writer.files, bytes: reader.bytes };
  } catch (error) {
    throw explained(error);
  } finally {
    await writer.close();
  }
}

/** Wraps the parser's events: bytes in, checked steps out. */
class Reader {
  bytes = 0;
  readonly #limits: TarLimits;
  readonly #parser: Parser;
  #steps: Step[] = [];
  #fault: Error | undefined;
  #entries = 0;
  readonly #folders = new Set<string>();
  #ended = false;

  constructor(parser: Parser, limits: TarLimits) {
    this.#limits = limits;
    this.#parser = parser;
    this.#parser.on('entry', (entry: ReadEntry) => this.#guarded(() => this.#begin(entry), entry));
    this.#parser.on('ignoredEntry', (entry: ReadEntry) => this.#guarded(() => refuseIgnored(entry), entry));
    this.#parser.on('error', (error: Error) => {
      this.#fault ??= bad('a whole tar archive', firstLine(error.message));
    });
    for (const end of ['eof', 'nullBlock']) this.#parser.on(end, () => (this.#ended = true));
  }

  steps(chunk: Buffer): Step[] {
    // What follows the end is padding.
    if (!this.#ended) this.#parser.write(chunk);
    if (this.#fault) throw this.#fault;
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }

  end(): void {
    this.#parser.end();
    if (this.#fault) throw this.#fault;
    if (!this.#ended) throw bad('a whole tar archive', 'one without an end');
  }

  #begin(entry: ReadEntry): void {
    const { entries, fileBytes, totalBytes } = this.#limits;
    const name = entry.path;
    const path = pathOf(name);
    const isFolder = entry.type === 'Directory';
    // what costs a header counts, were it the same folder again and again
    this.#entries += Math.max(1, this.#newFolders(isFolder ? path : path.slice(0, -1)) + (isFolder ? 0 : 1));
    if (this.#entries > entries) throw tooLarge(`at most ${entries} files and folders`, 'more');
    if (!isFolder && !FILES.includes(entry.type)) throw bad('files and folders', `${shown(name)}, a ${entry.type}`);
    if (entry.size > fileBytes) throw tooLarge(`at most ${fileBytes} bytes a file`, `${shown(name)} of ${entry.size}`);
    this.bytes += entry.size;
    if (this.bytes > totalBytes) throw tooLarge(`at most ${totalBytes} bytes of files`, 'more');
    if (isFolder || path.at(-1)?.startsWith('._')) {
      if (isFolder) this.#steps.push({ do: 'folder', path, name });
      entry.resume();
      return;
    }
    if (path.length === 0) throw bad('a name for each file', shown(name));
    this.#steps.push({ do: 'open', path, name });
    // The entry flows, so that all of a chunk is here when the parser has taken it.
    entry.on('data', (data: Buffer) => this.#steps.push({ do: 'write', data }));
    entry.on('end', () => this.#steps.push({ do: 'close' }));
  }

  /** How many folders on the way to the path, and the path itself, were not there before. */
  #newFolders(path: string[]): number {
    for (let depth = path.length; depth > 0; depth--) {
      const folder = path.slice(0, depth).join('/');
      if (this.#folders.has(folder)) return path.length - depth;
      this.#folders.add(folder);
    }
    return path.length;
  }

  #guarded(check: () => void, entry: ReadEntry): void {
    try {
      if (this.#fault === undefined) check();
    } catch (error) {
      this.#fault = error as Error;
      entry.resume();
    }
  }
}

/** The file system's side: makes what the steps say, and nothing that is there already. */
class Writer {
  files = 0;
  readonly #folder: string;
  readonly #made = new Set<string>();
  #open: FileHandle | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async follow(step: Step): Promise<void> {
    if (step.do === 'write') await this.#open?.writeFile(step.data);
    else if (step.do === 'close') await this.close();
    else if (step.do === 'folder') await this.#makeFolder(step.path, step.name);
    else {
      await this.#makeFolder(step.path.slice(0, -1), step.name);
      this.#open = await once(step.name, () => open(join(this.#folder, ...step.path), 'wx'));
      this.files++;
    }
  }

  async close(): Promise<void> {
    const handle = this.#open;
    this.#open = undefined;
    await handle?.close();
  }

  async #makeFolder(path: string[], name: string): Promise<void> {
    const folder = join(this.#folder, ...path);
    if (this.#made.has(folder)) return;
    await once(name, () => mkdir(folder, { recursive: true }));
    this.#made.add(folder);
  }
}

/** The archive's own bytes. Iterating never destroys the source, so that a client can still be answered. */
async function* decompressed(source: Readable): AsyncGenerator<Buffer> {
  const chunks = source.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  const head = await firstBytes(chunks);
  if (!begins(head, COMPRESSED[0])) {
    yield* checked(rest(head, chunks));
    return;
  }
  yield* checked(pipeline(Readable.from(rest(head, chunks), { objectMode: false }), createGunzip(), () => undefined));
}

async function* checked(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < 4) continue;
    if (COMPRESSED.some((magic) => begins(head as Buffer, magic))) {
      throw bad('a tar archive, plain or within one gzip', 'another kind of compression');
    }
    yield head;
    head = undefined;
  }
  if (head?.length) yield head;
}

async function firstBytes(chunks: AsyncIterator<Buffer>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const { value, done } = await chunks.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  return head;
}

async function* rest(head: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* chunks;
}

function begins(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

/** The parts of a relative path; none for the archive's root. */
function pathOf(name: string): string[] {
  if (/^(\/|[a-z]:)/i.test(name)) throw bad('relative names', shown(name));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\\\x00-\x1f\x7f]/.test(name)) throw bad('plain names', shown(name));
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw bad('names without ".."', shown(name));
  if (parts.length > MAX_DEPTH) throw bad(`at most ${MAX_DEPTH} levels of folders`, shown(name));
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES)) {
    throw bad(`names of at most ${MAX_NAME_BYTES} bytes`, shown(name));
  }
  if (Buffer.byteLength(name) > MAX_PATH_BYTES) throw bad(`paths of at most ${MAX_PATH_BYTES} bytes`, shown(name));
  return parts;
}

function refuseIgnored(entry: ReadEntry): void {
  const what = entry.meta ? 'a longer one' : `${shown(entry.path)}, a ${entry.type}`;
  throw bad(entry.meta ? `headers of at most ${MAX_META_BYTES} bytes` : 'files and folders', what);
}

async function once<T>(name: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR') throw bad('each name once', shown(name));
    throw error;
  }
}

function bad(expected: string, actual: string): ServiceError {
  return new ServiceError('bad_archive', `archive: expected ${expected}, got ${actual}`, { expected, actual });
}

function tooLarge(expected: string, actual: string): ServiceError {
  return new ServiceError('body_too_large', `archive: expected ${expected}, got ${actual}`, { expected, actual });
}

function explained(error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code.startsWith('Z_')) return bad('a whole gzip', firstLine(message));
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') {
    return new ServiceError('bad_request', 'body: expected all of it, got a part');
  }
  return error;
}

function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0].slice(0, 120);
}
