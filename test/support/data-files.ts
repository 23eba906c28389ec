/** Data sets written byte by byte, in the formats that users have them in. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';

/** An IDX file of bytes. */
export function idx(shape: number[], data: ArrayLike<number>): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 + shape.length);
  shape.forEach((n, i) => void header.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([header, Uint8Array.from(data)]);
}

/** A file for each name, folders made as needed. */
export async function writeAll(folder: string, files: Record<string, Buffer | string>): Promise<void> {
  for (const [name, data] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, data);
  }
}

/** Four IDX files with images of `shape` whose bytes count up, and labels that go round. */
export function idxFiles(shape: number[], train: number, test: number, classes = 3): Record<string, Buffer> {
  const size = shape.reduce((a, b) => a * b, 1);
  const pixels = (count: number, first: number) => Uint8Array.from({ length: count * size }, (_, i) => first + i);
  const labels = (count: number) => Uint8Array.from({ length: count }, (_, i) => i % classes);
  const axes = shape.length + 1;
  return {
    [`train-images-idx${axes}-ubyte`]: idx([train, ...shape], pixels(train, 0)),
    'train-labels-idx1-ubyte': idx([train], labels(train)),
    [`t10k-images-idx${axes}-ubyte`]: idx([test, ...shape], pixels(test, 7)),
    't10k-labels-idx1-ubyte': idx([test], labels(test)),
  };
}

/** CIFAR's records: the label bytes, then three planes; red is the record's number, green 100, blue 200. */
export function cifarRecords(labels: number[][]): Buffer {
  return Buffer.concat(
    labels.map((bytes, i) => {
      const planes = [i, 100, 200].map((value) => Buffer.alloc(1024, value));
      planes[0][1] = 255; // the second pixel tells pixels from planes
      return Buffer.concat([Buffer.from(bytes), ...planes]);
    }),
  );
}

/** A PNG of one colour. */
export function png(colour: string, width = 20, height = 20): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .png()
    .toBuffer();
}

/** Images of one colour each, by class: `{cats: ['#f00', …]}` as `cats/0.png` … */
export async function imageFiles(classes: Record<string, string[]>): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  for (const [label, colours] of Object.entries(classes)) {
    for (const [i, colour] of colours.entries()) files[`${label}/${i}.png`] = await png(colour);
  }
  return files;
}

/** So many shades between two greys. */
export function shades(count: number, from: number, to: number): string[] {
  const value = (i: number) => Math.round(from + ((to - from) * i) / Math.max(1, count - 1));
  return Array.from({ length: count }, (_, i) => `rgb(${value(i)},${value(i)},${value(i)})`);
}
