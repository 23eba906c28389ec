import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { decodeImage } from '../../src/image.js';
import type { InputSpec } from '../../src/model/manifest.js';
import { pngOf } from '../support/png.js';
import { Random } from '../support/random.js';
import { refused } from './fixtures.js';

const MAX_PIXELS = 1_000_000;
const spec = (height: number, width: number, channels: number, resize: InputSpec['resize'] = 'fill') => ({
  shape: [height, width, channels] as [number, number, number],
  resize,
});
const decode = (bytes: Uint8Array, of: ReturnType<typeof spec>, maxPixels = MAX_PIXELS) =>
  decodeImage(bytes, of, maxPixels, 'body');

const random = new Random(5);
const noise = (length: number) => Uint8Array.from({ length }, () => random.integer(0, 255));
const image = (pixels: Uint8Array, width: number, height: number, channels: 1 | 3 | 4) =>
  sharp(pixels, { raw: { width, height, channels } });

/** Far enough off for a lossy codec, not for another image. */
function near(got: Uint8Array, want: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(got.length, want.length, what);
  for (let i = 0; i < got.length; i++) {
    assert.ok(Math.abs(got[i] - want[i]) <= tolerance, `${what}: pixel ${i} is ${got[i]}, not ${want[i]}`);
  }
}

test('a lossless image of the right size arrives pixel for pixel', async () => {
  const grey = noise(28 * 20);
  const colour = noise(28 * 20 * 3);
  for (const format of ['png', 'webp', 'tiff', 'gif'] as const) {
    const options = { lossless: true, compression: 'lzw' };
    const greyFile = await image(grey, 28, 20, 1).toFormat(format, options).toBuffer();
    // GIF has 256 colours: grey fits it, colour does not.
    if (format !== 'tiff') assert.deepEqual([...(await decode(greyFile, spec(20, 28, 1)))], [...grey], format);
    if (format === 'gif') continue;
    const file = await image(colour, 28, 20, 3).toFormat(format, options).toBuffer();
    assert.deepEqual([...(await decode(file, spec(20, 28, 3)))], [...colour], format);
  }
});

test('grey becomes three equal channels, and colour one', async () => {
  const grey = noise(16);
  const file = await image(grey, 4, 4, 1).png().toBuffer();
  const wide = await decode(file, spec(4, 4, 3));
  near(
    wide,
    [...grey].flatMap((g) => [g, g, g]),
    0,
    'grey as colour',
  );
  const equal = await image(Uint8Array.from([...grey].flatMap((g) => [g, g, g])), 4, 4, 3)
    .png()
    .toBuffer();
  near(await decode(equal, spec(4, 4, 1)), grey, 1, 'colour as grey');
});

test('lossy formats, palettes, 16 bits and CMYK come as 8-bit pixels', async () => {
  const ramp = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => 110 + (Math.floor(i / 3) % 32) * 4);
  const source = () => image(ramp, 32, 32, 3);
  const files: Record<string, Buffer> = {
    jpeg: await source().jpeg({ quality: 95 }).toBuffer(),
    webp: await source().webp({ quality: 95 }).toBuffer(),
    avif: await source().avif({ quality: 90, effort: 0 }).toBuffer(),
    'palette png': await source().png({ palette: true }).toBuffer(),
    '16-bit png': await source().toColourspace('rgb16').png().toBuffer(),
    'cmyk jpeg': await source().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(),
  };
  assert.equal((await sharp(files['16-bit png']).metadata()).depth, 'ushort');
  assert.equal((await sharp(files['cmyk jpeg']).metadata()).space, 'cmyk');
  for (const [what, file] of Object.entries(files)) {
    near(await decode(file, spec(32, 32, 3)), ramp, what === 'cmyk jpeg' ? 30 : 6, what);
    assert.equal((await decode(file, spec(32, 32, 1))).length, 32 * 32, what);
  }
});

test('alpha lies over black', async () => {
  const rgba = Uint8Array.from([200, 100, 50, 255, 200, 100, 50, 0, 200, 100, 50, 128, 0, 0, 0, 255]);
  const file = await image(rgba, 2, 2, 4).png().toBuffer();
  near(await decode(file, spec(2, 2, 3)), [200, 100, 50, 0, 0, 0, 100, 50, 25, 0, 0, 0], 1, 'alpha');
});

test('the rotation of the EXIF is applied, before the size is', async () => {
  const pixels = Uint8Array.of(10, 20, 30, 40, 50, 60); // 3 wide, 2 high
  const file = await image(pixels, 3, 2, 1).withMetadata({ orientation: 6 }).png().toBuffer();
  assert.deepEqual([...(await decode(file, spec(3, 2, 1)))], [40, 10, 50, 20, 60, 30]);
});

test('of an animation, the first frame', async () => {
  const frames = Buffer.concat([Buffer.alloc(16 * 3, 250), Buffer.alloc(16 * 3, 5)]);
  const file = await sharp(frames, { raw: { width: 4, height: 8, channels: 3, pageHeight: 4 } })
    .gif()
    .toBuffer();
  assert.equal((await sharp(file).metadata()).pages, 2);
  near(await decode(file, spec(4, 4, 1)), new Array(16).fill(250), 1, 'first frame');
});

test('another size is stretched, cropped to cover, or letter-boxed in black', async () => {
  // 8 wide, 4 high: left and right quarters dark grey, the middle white.
  const pixels = Uint8Array.from({ length: 32 }, (_, i) => (i % 8 < 2 || i % 8 > 5 ? 80 : 255));
  const file = await image(pixels, 8, 4, 1).png().toBuffer();
  const fill = await decode(file, spec(4, 4, 1, 'fill'));
  assert.ok(fill[4] < 140 && fill[5] > 200, 'stretched: all of the width');
  near(await decode(file, spec(4, 4, 1, 'cover')), new Array(16).fill(255), 0, 'cover: the middle square');
  const contain = await decode(file, spec(8, 8, 1, 'contain'));
  near(contain.subarray(0, 16), new Array(16).fill(0), 0, 'contain: black above');
  near(contain.subarray(16, 48), pixels, 0, 'contain: the image');
  near(contain.subarray(48), new Array(16).fill(0), 0, 'contain: black below');
});

test('every truncated file is refused', async () => {
  const source = () => image(noise(64 * 64 * 3), 64, 64, 3);
  const files = {
    png: await source().png().toBuffer(),
    jpeg: await source().jpeg().toBuffer(),
    webp: await source().webp().toBuffer(),
    gif: await source().gif().toBuffer(),
  };
  for (const [format, file] of Object.entries(files)) {
    for (const share of [0.02, 0.3, 0.6, 0.9]) {
      const part = file.subarray(0, Math.ceil(file.length * share));
      const error = await refused(decode(part, spec(28, 28, 1)), 'bad_image');
      assert.equal(error.extra.field, 'body', format);
    }
  }
});

test('what is no image is refused, and formats that are programs are not even opened', async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>';
  for (const bytes of [Buffer.from('hello'), Buffer.from(svg), Buffer.from('%PDF-1.4\n'), noise(1000)]) {
    await refused(decode(bytes, spec(8, 8, 1)), 'bad_image');
  }
});

test('a small file that claims many pixels is refused before it is decoded', async () => {
  const error = await refused(decode(pngOf(50_000, 50_000), spec(8, 8, 1)), 'image_too_large');
  assert.equal(error.extra.expected, MAX_PIXELS);
  const file = await image(noise(100), 10, 10, 1).png().toBuffer();
  await decode(file, spec(8, 8, 1), 100);
  await refused(decode(file, spec(8, 8, 1), 99), 'image_too_large');
});

test('a model of two channels takes no images', async () => {
  const file = await image(noise(4), 2, 2, 1).png().toBuffer();
  await refused(decode(file, spec(2, 2, 2)), 'bad_image');
});
