/** What a client of the Open Inference Protocol can get wrong: [name, request, status, expressions of the error]. */
import { deflateSync, gzipSync } from 'node:zlib';
import { AUTHORIZATION } from './app.js';
import { byteTensor } from './triton-client.js';

export interface BadRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  url: string;
  headers?: Record<string, string>;
  payload?: string | Buffer;
}
export type BadLine = [name: string, request: BadRequest, status: number, ...error: RegExp[]];

const INFER = '/v2/models/tiny/infer';
const flat = Array<number>(16).fill(0.5);
const floats = Buffer.from(new Float32Array(flat).buffer);
const tensor = { name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32' };
const message = (changes: object = {}, input: object = {}) => ({
  inputs: [{ ...tensor, data: flat, ...input }],
  ...changes,
});

const post = (payload: string | Buffer, headers?: Record<string, string>, url = INFER): BadRequest => {
  return { method: 'POST', url, headers, payload };
};
const json = (body: unknown, url = INFER) => post(JSON.stringify(body), undefined, url);
/** With other parameters; with another input tensor; with other outputs. */
const parameters = (p: object) => json(message({ parameters: p }));
const input = (i: object) => json(message({}, i));
const output = (...outputs: unknown[]) => json(message({ outputs }));
const raw = (bytes: Buffer, query = '', headers: Record<string, string> = {}) =>
  post(bytes, { 'inference-header-content-length': '0', ...headers }, `${INFER}${query}`);
/** JSON and binary data behind it; `length` is what the header says. */
const binary = (i: object, data: Buffer, length?: string): BadRequest => {
  const head = Buffer.from(JSON.stringify({ inputs: [{ ...tensor, ...i }] }));
  return post(Buffer.concat([head, data]), { 'inference-header-content-length': length ?? String(head.length) });
};
const size = (n: unknown) => ({ parameters: { binary_data_size: n } });
const bytes = (shape: number[], data: Buffer) => binary({ datatype: 'BYTES', shape, ...size(data.length) }, data);
const lying = (length: number) => {
  const data = Buffer.alloc(12);
  data.writeUInt32LE(length);
  return data;
};
const compressed = (coding: string, payload: Buffer) => post(payload, { 'content-encoding': coding });
const admin = (path: string, body: string) => post(body, { authorization: AUTHORIZATION }, `/v2/repository/${path}`);

export const BAD_LINES: BadLine[] = [
  // paths and methods
  ['an unknown path', { url: '/v2/nothing' }, 404, /GET \/v2\/nothing/],
  ['an unknown path with a query', { url: '/v2/?x=1' }, 404, /GET \/v2\//],
  ['an unknown action', { url: '/v2/models/tiny/trace' }, 404, /trace/],
  ['infer by GET', { url: INFER }, 405, /expected POST, got GET/],
  ['metadata by POST', post('{}', undefined, '/v2/models/tiny'), 405, /expected GET, HEAD, got POST/],
  ['the server by DELETE', { method: 'DELETE', url: '/v2' }, 405, /got DELETE/],
  ['index by GET', { url: '/v2/repository/index' }, 405, /expected POST/],
  ['an unknown model', json(message(), '/v2/models/nothing/infer'), 404, /"nothing"/],
  ['an unknown version', json(message(), '/v2/models/tiny/versions/9/infer'), 404, /9/],
  ['a version in words', json(message(), '/v2/models/tiny/versions/one/infer'), 400, /whole number/, /"one"/],
  ['version 0', { url: '/v2/models/tiny/versions/0' }, 400, /at least 1/, /0/],
  ['a version that is negative', { url: '/v2/models/tiny/versions/-1/ready' }, 400, /at least 1/, /-1/],
  ['a version with a point', { url: '/v2/models/tiny/versions/1.0/ready' }, 400, /whole number/, /"1\.0"/],
  ['a version with a sign', json(message(), '/v2/models/tiny/versions/+1/infer'), 400, /whole number/, /"\+1"/],
  ['a version with an exponent', { url: '/v2/models/tiny/versions/1e0' }, 400, /whole number/, /"1e0"/],
  ['a path of percent signs', json({}, '/%76%32/models/tiny/infer'), 400, /inputs/, /nothing/],
  ['a name that climbs', { url: '/v2/models/..%2F..%2Fetc/ready' }, 400, /model name/, /etc/],
  ['a name in capitals', { url: '/v2/models/Tiny/stats' }, 400, /model name/, /"Tiny"/],
  ['a path that does not decode', { url: '/v2/models/%E0%A4%A/ready' }, 400, /percent-encoding/],
  ['a name without end', { url: `/v2/models/${'a'.repeat(300)}/ready` }, 400, /at most 200/],
  ['a query where none is', { url: '/v2/models/tiny?bits=4' }, 400, /no field/, /"bits"/],
  // the query of infer
  ['an unknown query field', json(message(), `${INFER}?bit=4`), 400, /bits/, /"bit"/],
  [
    'bits twice',
    json(message({ parameters: { bits: 4 } }), `${INFER}?bits=8`),
    400,
    /bits: expected it in the query or in the parameters/,
    /both/,
  ],
  ['a datatype beside the tensor', json(message(), `${INFER}?datatype=UINT8`), 400, /in the input tensor/],
  ['a datatype that is none', raw(floats, '?datatype=FP64'), 400, /FP32, UINT8, BYTES/, /"FP64"/],
  // bodies
  ['no body', { method: 'POST', url: INFER }, 400, /expected a body/, /nothing/],
  ['an empty body', post(''), 400, /nothing/],
  ['a blank body', post('  '), 400, /a JSON document/, /nothing/],
  ['half a document', post('{"inputs":['), 400, /a value at position 11/, /end/],
  ['not JSON', post('hello'), 400, /a value at position 0/, /hello/],
  ['not UTF-8', post(Buffer.from([0x7b, 0xff, 0x7d])), 400, /UTF-8/],
  ['deep', post(`{"inputs":${'['.repeat(9000)}`), 400, /at most 32 levels/],
  ['an array', json([]), 400, /an object/, /an array of 0/],
  ['null', json(null), 400, /an object/, /null/],
  ['no inputs', json({}), 400, /inputs/, /nothing/],
  ['inputs empty', json({ inputs: [] }), 400, /one input tensor/, /array of 0/],
  ['two inputs', json({ inputs: [message().inputs[0], message().inputs[0]] }), 400, /one input/, /array of 2/],
  ['inputs as an object', json({ inputs: { input: flat } }), 400, /one input tensor/, /an object/],
  ['a field too many', json(message({ instances: [] })), 400, /only id/, /"instances"/],
  ['__proto__', post('{"__proto__":{},"inputs":[]}'), 400, /no key __proto__/],
  ['an id that is a number', json(message({ id: 42 })), 400, /id: expected a string/, /42/],
  ['over the limit', post(Buffer.alloc(200_000, 32)), 413, /at most 65536 bytes/, /200000/],
  // the dial
  ['an unknown parameter', parameters({ bit: 4 }), 400, /bits/, /"parameters\.bit"/],
  ['bits=9', parameters({ bits: 9 }), 400, /one of 2, 3, 4/, /9/],
  ['bits as text', parameters({ bits: '4' }), 400, /one of 2, 3, 4/, /"4"/],
  ['activation_bits=64', parameters({ bits: 4, activation_bits: 64 }), 400, /activation_bits/, /64/],
  ['bits and a budget', parameters({ bits: 4, max_energy_uj: 1 }), 400, /bits or a budget/, /bits and max_energy_uj/],
  ['a budget of 0', parameters({ max_memory_kib: 0 }), 400, /above 0/, /got 0/],
  ['a budget that is null', parameters({ max_latency_ms: null }), 400, /finite number/, /null/],
  ['an accuracy over 1', parameters({ min_accuracy: 99 }), 400, /0 to 1/, /99/],
  ['a budget that nothing meets', parameters({ max_energy_uj: 1e-9 }), 422, /max_energy_uj/],
  ['a timeout that is negative', parameters({ timeout: -1 }), 400, /at least 0/, /-1/],
  ['a timeout of half a microsecond', parameters({ timeout: 0.5 }), 400, /whole number/, /0\.5/],
  ['binary_data_output as text', parameters({ binary_data_output: 'yes' }), 400, /true or false/, /"yes"/],
  ['parameters as an array', json(message({ parameters: [] })), 400, /an object/, /array of 0/],
  // the tensor
  ['another name', input({ name: 'images' }), 400, /expected "input"/, /"images"/],
  ['no name', input({ name: undefined }), 400, /name/, /nothing/],
  ['an unknown datatype', input({ datatype: 'FP64' }), 400, /FP32, UINT8, BYTES/, /"FP64"/],
  ['no shape', input({ shape: undefined }), 400, /shape/, /nothing/],
  ['a negative dimension', input({ shape: [-1, 4, 4, 1] }), 400, /at least 1/, /-1/],
  ['a dimension of 0', input({ shape: [0, 4, 4, 1] }), 400, /at least 1/, /0/],
  ['half a dimension', input({ shape: [0.5, 4, 4, 1] }), 400, /whole number/, /0\.5/],
  ['a dimension in words', input({ shape: ['1', 4, 4, 1] }), 400, /whole number/, /"1"/],
  ['a dimension without end', input({ shape: [1e300, 4, 4, 1] }), 400, /at most 64/],
  ['an empty shape', input({ shape: [] }), 400, /1 to 8 elements/, /array of 0/],
  ['another shape', input({ shape: [1, 1, 4, 4] }), 400, /\[n,4,4,1\]/, /\[1,1,4,4\]/],
  ['a shape without the batch', input({ shape: [4, 4, 1] }), 400, /\[n,4,4,1\]/, /\[4,4,1\]/],
  ['too many instances', input({ shape: [65, 4, 4, 1] }), 400, /at most 64/, /65/],
  ['a number short', input({ data: flat.slice(1) }), 400, /an array of 16/, /15/],
  ['a number too many', input({ data: [...flat, 0] }), 400, /an array of 16/, /17/],
  ['data as an object', input({ data: { b64: '' } }), 400, /an array/, /an object/],
  ['no data', input({ data: undefined }), 400, /data or parameters\.binary_data_size/, /neither/],
  ['text among numbers', input({ data: ['0.5', ...flat.slice(1)] }), 400, /0 to 1/, /a string/],
  ['null among numbers', input({ data: [null, ...flat.slice(1)] }), 400, /0 to 1/, /null/],
  ['a number out of range', input({ data: [255, ...flat.slice(1)] }), 400, /0 to 1/, /255/],
  ['1e999', post(JSON.stringify(message()).replace('0.5', '1e999')), 400, /0 to 1/, /Infinity/],
  ['NaN', post(JSON.stringify(message()).replace('0.5', 'NaN')), 400, /a value/, /NaN/],
  ['256 as a pixel', input({ datatype: 'UINT8', data: [256, ...flat.slice(1)] }), 400, /0 to 255/, /256/],
  ['half a pixel', input({ datatype: 'UINT8', data: [0.5, ...flat.slice(1)] }), 400, /0 to 255/, /0\.5/],
  [
    'ragged rows',
    input({ data: [[[[0.5]], [[0.5]], [[0.5]], [[0.5]]]] }),
    400,
    /data\[0\]\[0\]: expected an array of 4/,
    /1/,
  ],
  ['a row that is a number', input({ data: [[1, 2, 3, 4]] }), 400, /data\[0\]\[0\]/, /a number/],
  ['BYTES of the wrong shape', input({ datatype: 'BYTES', shape: [1, 4, 4, 1] }), 400, /\[n\] or \[n,1\]/],
  ['BYTES that are no base64', input({ datatype: 'BYTES', shape: [1], data: ['!!'] }), 400, /base64/],
  ['BYTES as a number', input({ datatype: 'BYTES', shape: [1], data: [7] }), 400, /base64/, /a number/],
  ['BYTES of text', input({ datatype: 'BYTES', shape: [1], data: ['aGVsbG8='] }), 400, /data\[0\]: expected a whole/],
  ['one file for two', input({ datatype: 'BYTES', shape: [2], data: ['aGVsbG8='] }), 400, /an array of 2/, /1/],
  ['shared memory', input({ parameters: { shared_memory_region: 'a' } }), 400, /binary_data_size/, /shared_memory/],
  // binary data
  ['a header length beyond the body', binary(size(64), floats, '999999'), 400, /from 0 to \d+/, /"999999"/],
  ['a header length that is negative', binary(size(64), floats, '-1'), 400, /whole number/, /"-1"/],
  ['a header length in words', binary(size(64), floats, 'all'), 400, /whole number/, /"all"/],
  ['a header length of two', binary(size(64), floats, '10, 10'), 400, /whole number/],
  ['a header length that is huge', binary(size(64), floats, '99999999999999999999'), 400, /whole number/],
  ['a header length inside the JSON', binary(size(64), floats, '20'), 400, /at position/],
  ['a header length inside the data', binary(size(64), floats, '130'), 400, /./],
  ['no header length', post(Buffer.concat([Buffer.from(JSON.stringify(message())), floats])), 400, /./],
  ['a size that is too small', binary(size(32), floats), 400, /32 bytes/, /64 bytes/],
  ['a size that is too large', binary(size(128), floats), 400, /128 bytes/, /64 bytes/],
  ['a size that is negative', binary(size(-64), floats), 400, /at least 0/, /-64/],
  ['a size as text', binary(size('64'), floats), 400, /whole number/, /"64"/],
  ['data both ways', binary({ ...size(64), data: flat }, floats), 400, /either/, /both/],
  ['data that nobody claims', binary({ data: flat }, floats), 400, /nothing behind the JSON/, /64 bytes/],
  ['bytes short of the shape', binary(size(60), floats.subarray(4)), 400, /64 bytes for shape/, /60/],
  ['pixels for floats', binary(size(16), floats.subarray(48)), 400, /64 bytes/, /16/],
  ['floats for pixels', binary({ datatype: 'UINT8', ...size(64) }, floats), 400, /16 bytes/, /64/],
  ['a float that is NaN', binary(size(64), Buffer.alloc(64, 0xff)), 400, /finite/, /NaN/],
  ['a float out of range', binary(size(64), Buffer.from(new Float32Array(16).fill(2).buffer)), 400, /0 to 1/, /2/],
  ['no bytes at all', binary(size(0), Buffer.alloc(0)), 400, /64 bytes/, /0 bytes/],
  ['BYTES with a length beyond the end', bytes([1], lying(1000)), 400, /1 to 8 bytes/, /1000/],
  ['BYTES with a length of 4 GB', bytes([1], lying(0xffffffff)), 400, /1 to 8 bytes/, /4294967295/],
  ['BYTES with a length of 0', bytes([1], byteTensor(Buffer.alloc(0))), 400, /a length of 1/, /got 0/],
  ['BYTES with more behind them', bytes([1], lying(2)), 400, /6 bytes/, /12 bytes/],
  ['BYTES with half a length', bytes([1], Buffer.alloc(3)), 400, /4 bytes before/, /3 bytes/],
  ['BYTES with an element short', bytes([2], byteTensor(Buffer.from('a'))), 400, /2 elements/, /5 bytes/],
  ['BYTES without an image', bytes([1], byteTensor(Buffer.from('hello'))), 400, /data\[0\]: expected a whole/],
  ['BYTES of a million elements', bytes([1_000_000], Buffer.alloc(400)), 400, /at most 64/, /1000000/],
  // raw bodies
  ['a raw body of nothing', raw(Buffer.alloc(0)), 400, /nothing/],
  ['a raw body cut short', raw(floats.subarray(1)), 400, /multiple of 64 bytes/, /63/],
  ['raw pixels cut short', raw(Buffer.alloc(15), '?datatype=UINT8'), 400, /multiple of 16 bytes/, /15/],
  ['too many raw pixels', raw(Buffer.alloc(16 * 65), '?datatype=UINT8'), 400, /at most 64/, /65/],
  ['a raw body that is no image', raw(Buffer.from('hello'), '', { 'content-type': 'image/png' }), 400, /whole/],
  ['raw with bits and a budget', raw(floats, '?bits=4&max_energy_uj=1'), 400, /^request: expected bits or a budget/],
  ['raw with bits=5.5', raw(floats, '?bits=5.5'), 400, /one of 2/, /5\.5/],
  // outputs
  ['an unknown output', output({ name: 'scores' }), 400, /probabilities, logits, label/, /"scores"/],
  ['an output without a name', output({}), 400, /name/, /nothing/],
  ['an output twice', output({ name: 'logits' }, { name: 'logits' }), 400, /each output once/, /logits again/],
  ['outputs as a name', json(message({ outputs: 'label' })), 400, /an array/, /"label"/],
  ['a class count below 0', output({ name: 'logits', parameters: { classification: -1 } }), 400, /at least 0/, /-1/],
  ['half a class', output({ name: 'logits', parameters: { classification: 1.5 } }), 400, /whole number/, /1\.5/],
  ['classes of labels', output({ name: 'label', parameters: { classification: 2 } }), 400, /probabilities or logits/],
  ['binary_data as 1', output({ name: 'logits', parameters: { binary_data: 1 } }), 400, /true or false/, /1/],
  [
    'an output into shared memory',
    output({ name: 'logits', parameters: { shared_memory_region: 'a' } }),
    400,
    /shared/,
  ],
  // compression
  ['an unknown coding', compressed('br', floats), 415, /gzip, deflate or identity/, /"br"/],
  ['two codings', compressed('gzip, gzip', floats), 415, /gzip, deflate or identity/],
  ['text as gzip', compressed('gzip', Buffer.from('hello')), 400, /whole gzip stream/],
  ['half a gzip', compressed('gzip', gzipSync(JSON.stringify(message())).subarray(0, 40)), 400, /whole gzip stream/],
  ['gzip as deflate', compressed('deflate', gzipSync('{}')), 400, /whole deflate stream/],
  ['deflate as gzip', compressed('gzip', deflateSync('{}')), 400, /whole gzip stream/],
  [
    'deflate with more behind it',
    compressed('deflate', Buffer.concat([deflateSync(JSON.stringify(message())), floats])),
    400,
    /64 bytes behind/,
  ],
  ['a bomb', compressed('gzip', gzipSync(Buffer.alloc(30_000_000))), 413, /at most 65536 bytes after/],
  ['a bomb in deflate', compressed('deflate', deflateSync(Buffer.alloc(30_000_000))), 413, /at most 65536 bytes after/],
  ['a type that is none', post('{}', { 'content-type': 'json' }), 415, /"json"/],
  // the repository
  ['load without a token', post('{}', undefined, '/v2/repository/models/tiny/load'), 401, /Bearer/, /none/],
  ['unload without a token', post('', undefined, '/v2/repository/models/tiny/unload'), 401, /Bearer/],
  ['load of an unknown model', admin('models/nothing/load', '{}'), 404, /"nothing"/],
  ['unload of an unknown model', admin('models/nothing/unload', '{}'), 404, /"nothing"/],
  ['load of a name that is none', admin('models/..%2Fx/load', ''), 400, /model name/],
  ['load with a configuration', admin('models/tiny/load', '{"parameters":{"config":"{}"}}'), 400, /parameters\.config/],
  ['unload with half a document', admin('models/tiny/unload', '{'), 400, /at position 1/],
  ['an index by text', post('{"ready":"yes"}', undefined, '/v2/repository/index'), 400, /true or false/, /"yes"/],
  ['an index of an array', post('[]', undefined, '/v2/repository/index'), 400, /an object/, /array/],
  ['an index with more', post('{"all":true}', undefined, '/v2/repository/index'), 400, /only ready/, /"all"/],
];
