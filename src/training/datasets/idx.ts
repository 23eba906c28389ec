/**
 * The IDX format (LeCun, yann.lecun.com/exdb/mnist): two zero bytes, a type byte, the number of dimensions, each
 * dimension as a big-endian uint32, then the elements. Only unsigned bytes (type 0x08), as MNIST and its kin use.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import type { DatasetCache } from './cache.js';
import type { Entry } from './entries.js';
import { badDataset, fileFault, namesIn } from './faults.js';
import { type BytePart, checkCount, MOST_EXAMPLES } from './records.js';

/** `train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte.gz`, `emnist-letters-test-images-idx3-ubyte` … */
const NAME = /^(?:(.+)[-_.])?(train|t10k|test)[-_.](images|labels)[-_.]idx([134])[-_.]ubyte(\.gz)?$/;
const ROLES = ['train-images', 'train-labels', 'test-images', 'test-labels'] as const;
type Role = (typeof ROLES)[number];
const LARGEST_HEADER = 4 + 4 * 4;
/** A byte a label; a gzip of bytes that cannot be made smaller has a little more. */
const LARGEST_LABELS = MOST_EXAMPLES + 65_536;

export interface IdxLayout {
  kind: 'idx';
  files: Record<Role, Entry>;
}

/** The IDX files of a folder; null where it has none. @throws ServiceError `bad_dataset` where it has not all */
export function findIdx(entries: readonly Entry[]): IdxLayout | null {
  const files = new Map<Role, Entry>();
  const prefixes = new Set<string>();
  for (const entry of entries) {
    const match = entry.isFolder ? null : NAME.exec(entry.name);
    if (match === null) continue;
    const [, prefix = '', part, what] = match;
    const role = `${part === 'train' ? 'train' : 'test'}-${what}` as Role;
    prefixes.add(prefix);
    // A file that lies there unpacked too comes first in the order of names.
    if (!files.has(role)) files.set(role, entry);
  }
  if (files.size === 0) return null;
  if (prefixes.size > 1) throw badDataset('folder', 'the IDX files of one data set', namesIn([...prefixes]));
  const missing = ROLES.find((role) => !files.has(role));
  if (missing !== undefined) {
    const wanted = `${missing.replace('test', 't10k')}-idx${missing.endsWith('labels') ? 1 : 3}-ubyte beside the others`;
    throw badDataset('folder', wanted, namesIn([...files.values()].map(({ name }) => name)));
  }
  return { kind: 'idx', files: Object.fromEntries(files) as Record<Role, Entry> };
}

/** @param maxBytes that unpacked images may take */
export async function readIdxParts(
  { files }: IdxLayout,
  cache: DatasetCache,
  maxBytes: number,
): Promise<{ train: BytePart; test: BytePart }> {
  const packed = [files['train-images'], files['test-images']].filter(({ name }) => name.endsWith('.gz'));
  let unpacked = '';
  if (packed.length > 0) {
    const content = packed.map(({ name, size, mtimeMs }) => [name, size, mtimeMs]);
    unpacked = await cache.folder(content, 'gunzip', async (folder) => {
      for (const entry of packed) await unpack(entry, join(folder, entry.name), maxBytes);
    });
  }
  const read = async (images: Entry, labels: Entry): Promise<BytePart> => {
    const path = images.name.endsWith('.gz') ? join(unpacked, images.name) : images.path;
    const { shape, offset } = await readHeader(path, images.name);
    const [count, height, width, channels = 1] = shape;
    const size = height * width * channels;
    const file = { path, name: images.name, offset, stride: size, count };
    const part = { shape: [height, width, channels] as BytePart['shape'], files: [file], labelFile: labels.name };
    return { ...part, labels: await readLabels(labels, count) };
  };
  return {
    train: await read(files['train-images'], files['train-labels']),
    test: await read(files['test-images'], files['test-labels']),
  };
}

async function readHeader(path: string, name: string) {
  try {
    const header = parseIdxHeader(await head(path), (await stat(path)).size, [3, 4], name);
    checkCount(name, header.shape[0]);
    return header;
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code?.startsWith('E') ? fileFault(name, error) : error;
  }
}

/**
 * @param bytes the beginning of a file of `length` bytes
 * @param axes how many it may have
 * @returns its shape, and where its elements begin
 * @throws ServiceError `bad_dataset` that names the file
 */
export function parseIdxHeader(
  bytes: Buffer,
  length: number,
  axes: readonly number[],
  name: string,
): { shape: number[]; offset: number } {
  const found = axes.find((n) => bytes.length >= 4 && bytes.readUInt32BE(0) === 0x0800 + n);
  if (found === undefined) {
    const wanted = axes.map((n) => hex(0x0800 + n)).join(' or ');
    const actual = bytes.length < 4 ? `${bytes.length} bytes` : hex(bytes.readUInt32BE(0));
    throw badDataset(name, `IDX magic number ${wanted} (bytes, ${axes.join(' or ')} axes)`, actual);
  }
  const offset = 4 + 4 * found;
  if (bytes.length < offset) throw badDataset(name, `an IDX header of ${offset} bytes`, `${bytes.length} bytes`);
  const shape = Array.from({ length: found }, (_, i) => bytes.readUInt32BE(4 + 4 * i));
  const size = shape.reduce((a, b) => a * b, 1);
  const wanted = `${offset + size} bytes for shape [${shape.join(', ')}]`;
  if (length !== offset + size) throw badDataset(name, wanted, `${length} bytes`);
  if (size === 0) throw badDataset(name, 'elements', `shape [${shape.join(', ')}]`);
  return { shape, offset };
}

async function readLabels(entry: Entry, count: number): Promise<Uint8Array> {
  let bytes: Buffer;
  try {
    if (entry.size > LARGEST_LABELS) {
      throw badDataset(entry.name, `at most ${LARGEST_LABELS} bytes`, `${entry.size} bytes`);
    }
    bytes = await readFile(entry.path);
    // One byte more than there should be says that there are too many.
    if (entry.name.endsWith('.gz')) bytes = await promisify(gunzip)(bytes, { maxOutputLength: 9 + count });
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      throw badDataset(entry.name, `${count} labels, one for each image`, 'more');
    }
    throw code.startsWith('E') || code.startsWith('Z_') ? fileFault(entry.name, error) : error;
  }
  const { shape, offset } = parseIdxHeader(bytes, bytes.length, [1], entry.name);
  if (shape[0] !== count) throw badDataset(entry.name, `${count} labels, one for each image`, `${shape[0]}`);
  return bytes.subarray(offset);
}

/** Never more than `maxBytes`, whatever the file becomes. */
async function unpack(entry: Entry, to: string, maxBytes: number): Promise<void> {
  let bytes = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(badDataset(entry.name, `at most ${maxBytes} bytes, unpacked`, 'more'));
      else done(null, chunk);
    },
  });
  try {
    await pipeline(createReadStream(entry.path), createGunzip(), bounded, createWriteStream(to));
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code?.startsWith('Z_') ? fileFault(entry.name, error) : error;
  }
  // Before the folder has its name: what is kept is whole.
  await readHeader(to, entry.name);
}

async function head(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc(LARGEST_HEADER);
    const { bytesRead } = await file.read(bytes, 0, LARGEST_HEADER, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function hex(n: number): string {
  return `0x${n.toString(16).padStart(8, '0')}`;
}
