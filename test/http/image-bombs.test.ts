/** Small files that would be large once decoded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { pngOf } from '../support/png.js';
import { assertProblem } from './answers.js';
import { servingApp } from './app.js';

const side = 30_000;
const grey = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#808080' } });

/** A JPEG whose header says another size. */
async function jpegOf(width: number, height: number): Promise<Buffer> {
  const bytes = await grey(8, 8).jpeg().toBuffer();
  const frame = bytes.indexOf(Buffer.from([0xff, 0xc0]));
  bytes.writeUInt16BE(height, frame + 5);
  bytes.writeUInt16BE(width, frame + 7);
  return bytes;
}

/** A GIF whose screen and first frame are of another size. */
async function gifOf(width: number, height: number): Promise<Buffer> {
  const bytes = await grey(4, 4).gif().toBuffer();
  const frame = bytes.indexOf(Buffer.from([0x2c, 0, 0, 0, 0]));
  for (const at of [6, frame + 5]) {
    bytes.writeUInt16LE(width, at);
    bytes.writeUInt16LE(height, at + 2);
  }
  return bytes;
}

/** A GIF that repeats its one frame. */
async function animation(frames: number): Promise<Buffer> {
  const bytes = await grey(4, 4).gif().toBuffer();
  const colours = bytes[10] & 0x80 ? 3 << ((bytes[10] & 7) + 1) : 0;
  const [start, end] = [13 + colours, bytes.length - 1];
  const frame = bytes.subarray(start, end);
  return Buffer.concat([bytes.subarray(0, start), ...Array<Buffer>(frames).fill(frame), bytes.subarray(end)]);
}

test('a file that claims more pixels than the limit is a 413, on every way in', async (t) => {
  const { http } = await servingApp(t);
  const bombs: [string, Buffer][] = [
    ['image/png', pngOf(side, side)],
    ['image/jpeg', await jpegOf(side, side)],
    ['image/gif', await gifOf(side, side)],
  ];
  for (const [type, bytes] of bombs) {
    assert.ok(bytes.length < 2000, `${type}: ${bytes.length} bytes`);
    const problem = assertProblem(
      await http.post('/predict').set('content-type', type).send(bytes),
      'image_too_large',
      type,
    );
    assert.match(problem.detail as string, /at most 50000000 pixels/);
    const instance = { b64: bytes.toString('base64') };
    assertProblem(await http.post('/predict').send({ instances: [instance] }), 'image_too_large', `${type} in base64`);
    const { body } = await http
      .post('/v1/models/tiny:predict')
      .send({ instances: [instance] })
      .expect(413);
    assert.match(body.error, /instances\[0\]\.b64: expected at most 50000000 pixels/);
  }
  const limited = await servingApp(t, { config: { maxImagePixels: 100 } });
  const png = await grey(11, 10).png().toBuffer();
  assertProblem(await limited.http.post('/predict').set('content-type', 'image/png').send(png), 'image_too_large');
});

test('of a GIF of thousands of frames one is decoded', async (t) => {
  const { http } = await servingApp(t, { config: { maxImagePixels: 100 } });
  const bytes = await animation(20_000);
  await http.post('/predict').set('content-type', 'image/gif').send(bytes).expect(200);
});

test('SVG and PDF are refused, whatever they are called', async (t) => {
  const { http } = await servingApp(t);
  const entity = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>';
  const svg = `${entity}<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}"><text>&x;</text></svg>`;
  for (const text of [
    svg,
    `<?xml version="1.0"?>${svg}`,
    '%PDF-1.4\n',
    'push graphic-context\nimage over 0,0 1,1 "x"',
  ]) {
    for (const type of ['image/svg+xml', 'image/png']) {
      const problem = assertProblem(
        await http.post('/predict').set('content-type', type).send(text),
        'bad_image',
        type,
      );
      assert.match(problem.expected as string, /^JPEG, PNG, WebP, GIF, TIFF or AVIF$/);
    }
  }
});
