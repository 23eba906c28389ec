/**
 * The IDX format (LeCun, yann.lecun.com/exdb/mnist): two zero bytes, a type byte, the number of dimensions, each
 * dimension as a big-endian uint32, then the elements. Only unsigned bytes (type 0x08), as MNIST and its kin use.
 */
import { readFile } from 'node:fs/promises';

export interface IdxArray {
  shape: number[];
  data: Uint8Array;
}

/** @throws Error that names the file, what was expected and what came */
export async function readIdx(path: string, dimensions: number): Promise<IdxArray> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new Error(`${path}: cannot be read: ${(error as Error).message}`);
  }
  return parseIdx(bytes, dimensions, path);
}

/** {@link readIdx} of bytes that are there already; the array is a view of them. */
export function parseIdx(bytes: Buffer, dimensions: number, path: string): IdxArray {
  const header = 4 + 4 * dimensions;
  if (bytes.length < header) {
    throw new Error(`${path}: expected an IDX header of ${header} bytes, got ${bytes.length} bytes`);
  }
  const magic = bytes.readUInt32BE(0);
  const wanted = 0x0800 + dimensions;
  if (magic !== wanted) {
    throw new Error(`${path}: expected IDX magic number ${hex(wanted)} (bytes, ${dimensions} axes), got ${hex(magic)}`);
  }
  const shape = Array.from({ length: dimensions }, (_, i) => bytes.readUInt32BE(4 + 4 * i));
  const size = shape.reduce((a, b) => a * b, 1);
  if (bytes.length !== header + size) {
    throw new Error(
      `${path}: expected ${header + size} bytes for shape [${shape.join(', ')}], got ${bytes.length} bytes`,
    );
  }
  return { shape, data: bytes.subarray(header) };
}

function hex(n: number): string {
  return `0x${n.toString(16).padStart(8, '0')}`;
}
