import sharp from 'sharp';
import { flat, JSON_TYPE, json, type Line, post, RAW, raw } from './bad-lines.js';
import { PIXELS } from './tiny.js';

const grid = [0, 1, 2, 3].map(() => [0, 1, 2, 3].map(() => [0.5]));
const png = await sharp({ create: { width: 9, height: 9, channels: 3, background: '#777' } })
  .png()
  .toBuffer();

const instances = (value: unknown) => json(JSON.stringify({ instances: value }));
const floats = (value: number) => post('?dtype=float32', RAW, Buffer.from(new Float32Array(PIXELS).fill(value).buffer));

/** What is wrong with a body or its type. */
export const BODIES: Line[] = [
  // shapes
  ['too few numbers', instances([flat.slice(1)]), 'wrong_shape', null, /16/, /15/],
  ['too many numbers', instances([[...flat, 1]]), 'wrong_shape', null, /16/, /17/],
  ['a row short', instances([grid.slice(1)]), 'wrong_shape', null, /4/, /3/],
  ['ragged', instances([[...grid.slice(1), [[0.5]]]]), 'wrong_shape', null, /4/, /1/],
  ['second instance short', instances([flat, flat.slice(2)]), 'wrong_shape', null, /\[1\]/, /14/],
  ['an instance that is empty', instances([[]]), 'wrong_shape', null, /16/, /0/],
  ['an instance that is a number', instances([1]), 'invalid_field', null, /expected/, /number/],
  ['a string among numbers', instances([[...flat.slice(1), '1']]), 'invalid_field', null, /expected/, /string/],
  ['no instances', instances([]), 'invalid_field', 'instances', /at least 1/, /array of 0/],
  ['instances that are no array', instances('abc'), 'invalid_field', 'instances', /an array/, /"abc"/],
  ['too many instances', instances(Array(65).fill(flat)), 'batch_too_large', null, /64/, /65/],
  // numbers
  ['NaN in JSON', json('{"instances":[[NaN]]}'), 'malformed_json', null, /a value at position 15/, /NaN/],
  ['Infinity in JSON', json('{"instances":[[-Infinity]]}'), 'malformed_json', null, /a value/, /-Infinity/],
  ['1e999', json(`{"instances":[[1e999,${flat.slice(1)}]]}`), 'not_finite', null, /0 to 1/, /Infinity/],
  ['null', json(`{"instances":[[null,${flat.slice(1)}]]}`), 'invalid_field', null, /0 to 1/, /null/],
  ['float32 NaN', floats(Number.NaN), 'not_finite', null, /finite/, /NaN/],
  ['float32 Infinity', floats(Infinity), 'not_finite', null, /finite/, /Infinity/],
  ['out of the range', instances([[255, ...flat.slice(1)]]), 'out_of_range', null, /0 to 1/, /255/],
  ['float32 out of the range', floats(-1), 'out_of_range', null, /0 to 1/, /-1/],
  // bodies
  ['empty JSON', json(''), 'empty_body', null, /expected a body/, /nothing/],
  ['blank JSON', json('  \n'), 'empty_body', null, /expected/, /nothing/],
  ['empty image', post('', 'image/png', ''), 'empty_body', null, /image\/\*/, /nothing/],
  ['empty raw', raw(0), 'empty_body', null, /expected/, /nothing/],
  ['no body, no type', (http) => http.post('/predict'), 'empty_body', null, /expected/, /nothing/],
  ['half a document', json('{"instances":[[0.5,'), 'malformed_json', null, /a value at position 19/, /the end/],
  ['a document and more', json('{"instances":[[1]]}}'), 'malformed_json', null, /end of the body/, /}/],
  [
    'not UTF-8',
    (http) => post('', JSON_TYPE, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]))(http).serialize((bytes) => bytes),
    'malformed_json',
    null,
    /UTF-8/,
  ],
  [
    'deep',
    json(`{"instances":${'['.repeat(50_000)}${']'.repeat(50_000)}}`),
    'body_too_deep',
    null,
    /at most 32/,
    /more/,
  ],
  ['deep and cut', json('['.repeat(1_000_000)), 'body_too_deep', null, /at most 32/, /more/],
  ['an array as body', json('[1]'), 'invalid_field', null, /an object/, /array of 1/],
  ['null as body', json('null'), 'invalid_field', null, /an object/, /null/],
  ['unknown body field', json('{"instances":[[1]],"bits":4}'), 'unknown_field', 'bits', /only instances/, /"bits"/],
  [
    '__proto__',
    json('{"__proto__":{"instances":[]},"instances":[[1]]}'),
    'unknown_field',
    null,
    /__proto__/,
    /expected no/,
  ],
  ['instances missing', json('{}'), 'missing_field', 'instances', /instances/, /nothing/],
  [
    'unknown field of an instance',
    instances([{ b64: png.toString('base64'), size: 1 }]),
    'unknown_field',
    null,
    /b64/,
    /size/,
  ],
  ['b64 that is none', instances([{ b64: '!!!' }]), 'invalid_field', null, /base64/, /got/],
  ['b64 of text', instances([{ b64: Buffer.from('hello').toString('base64') }]), 'bad_image', null, /expected/],
  ['b64 missing', instances([{}]), 'missing_field', null, /b64/, /expected/],
  ['truncated image', post('', 'image/png', png.subarray(0, png.length >> 1)), 'bad_image', null, /expected/],
  ['text as image', post('', 'image/jpeg', 'not an image'), 'bad_image', null, /expected/],
  ['odd byte count', raw(PIXELS - 1), 'wrong_shape', null, /16 bytes/, /15/],
  ['odd byte count of floats', raw(PIXELS * 4 + 2, '?dtype=float32'), 'wrong_shape', null, /64 bytes/, /66/],
  ['pixels as floats', raw(PIXELS, '?dtype=float32'), 'wrong_shape', null, /64 bytes/, /16/],
  ['too many raw instances', raw(PIXELS * 65), 'batch_too_large', null, /64/, /65/],
  ['a body over the limit', raw(2_000_000), 'body_too_large', null, /at most 1048576 bytes/, /2000000 bytes/],
  // content types
  [
    'text',
    post('', 'text/plain', 'x'),
    'unsupported_media_type',
    null,
    /image\/\*, application\/json, application\/octet-stream/,
    /text\/plain/,
  ],
  [
    'form',
    post('', 'application/x-www-form-urlencoded', 'a=1'),
    'unsupported_media_type',
    null,
    /image\/\*/,
    /x-www-form/,
  ],
  [
    'multipart',
    post('', 'multipart/form-data; boundary=x', '--x--'),
    'unsupported_media_type',
    null,
    /image\/\*/,
    /multipart/,
  ],
  ['type that is none', post('', 'json', '{}'), 'unsupported_media_type', null, /application\/json/, /"json"/],
  [
    'compressed',
    (http) => json('{}')(http).set('content-encoding', 'gzip'),
    'unsupported_media_type',
    null,
    /uncompressed/,
    /gzip/,
  ],
  [
    'JSON type with a trick',
    post('', 'APPLICATION/JSON ; charset=utf-8', '{"x":1}'),
    'unknown_field',
    null,
    /instances/,
    /"x"/,
  ],
];
