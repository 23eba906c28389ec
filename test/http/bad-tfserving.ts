/** What a client of TensorFlow Serving can get wrong: status, and what the message says. */
import type { Test } from 'supertest';
import type { TestApp } from './app.js';
import { flat, JSON_TYPE } from './bad-lines.js';

type Http = TestApp['http'];
export type TfLine = [name: string, send: (http: Http) => Test, status: number, ...message: RegExp[]];

const post = (path: string, body: string | object) => (http: Http) =>
  http
    .post(`/v1/models/${path}`)
    .set('content-type', JSON_TYPE)
    .send(typeof body === 'string' ? body : JSON.stringify(body));
const predict = (body: string | object, query = '') => post(`tiny:predict${query}`, body);
const classify = (body: string | object) => post('tiny:classify', body);
const get = (path: string) => (http: Http) => http.get(`/v1/models${path}`);
const one = { instances: [flat] };

export const TF_LINES: TfLine[] = [
  // formats
  ['neither instances nor inputs', predict({}), 400, /instances or inputs/, /neither/],
  ['instances and inputs', predict({ ...one, inputs: [flat] }), 400, /instances or inputs/, /both/],
  ['another signature', predict({ ...one, signature_name: 'classify' }), 400, /"serving_default"/, /"classify"/],
  ['a signature that is no text', predict({ ...one, signature_name: 1 }), 400, /"serving_default"/, /got 1/],
  ['a signature that is null', predict({ ...one, signature_name: null }), 400, /"serving_default"/, /null/],
  ['instances that are a number', predict({ instances: 1 }), 400, /instances: expected an array/, /a number/],
  ['instances that are null', predict({ instances: null }), 400, /instances: expected an array/, /null/],
  ['instances that are one object', predict({ instances: { input: flat } }), 400, /an array/, /an object/],
  ['no instance', predict({ instances: [] }), 400, /an array of 1 to 64/, /an empty array/],
  ['inputs that are text', predict({ inputs: 'abc' }), 400, /inputs: expected an array/, /a string/],
  ['inputs of another name', predict({ inputs: { image: [flat] } }), 400, /inputs: expected only "input"/, /"image"/],
  ['inputs of two names', predict({ inputs: { input: [flat], x: 1 } }), 400, /only "input"/, /"x"/],
  ['inputs of no name', predict({ inputs: {} }), 400, /inputs: expected "input"/, /nothing/],
  ['inputs without a batch', predict({ inputs: { input: flat } }), 400, /inputs\.input\[0\]/, /a number/],
  ['inputs named __proto__', predict('{"inputs":{"__proto__":[[1]]}}'), 400, /__proto__/],
  ['an instance of another name', predict({ instances: [{ x: flat }] }), 400, /instances\[0\].*"input"/, /"x"/],
  ['an instance of no name', predict({ instances: [flat, {}] }), 400, /instances\[1\]: expected "input"/],
  [
    'an instance inside an instance',
    predict({ instances: [{ input: { input: flat } }] }),
    400,
    /only "b64"/,
    /"input"/,
  ],
  ['an instance that is null', predict({ instances: [null] }), 400, /instances\[0\]/, /null/],
  // tensors
  ['a short tensor', predict({ instances: [flat.slice(1)] }), 400, /16 numbers/, /\[15\]/],
  ['a short named tensor', predict({ instances: [{ input: [1] }] }), 400, /instances\[0\]/, /16 numbers/, /\[1\]/],
  ['text among numbers', predict({ inputs: [[...flat.slice(1), '1']] }), 400, /inputs\[0\]\[15\]/, /a string/],
  [
    'a number out of range',
    predict({ inputs: { input: [[...flat.slice(1), 9]] } }),
    400,
    /inputs\.input\[0\]\[15\]/,
    /9/,
  ],
  ['NaN', predict('{"instances":[[NaN]]}'), 400, /a value at position 15/, /NaN/],
  ['1e999', predict(`{"instances":[[1e999,${flat.slice(1)}]]}`), 400, /Infinity/],
  ['too many', predict({ instances: Array(65).fill(flat) }), 400, /at most 64/, /65/],
  ['base64 that is none', predict({ instances: [{ b64: '!' }] }), 400, /base64/, /something else/],
  ['base64 of text', predict({ instances: [{ input: { b64: 'aGVsbG8=' } }] }), 400, /image/],
  // classify
  ['no examples', classify({}), 400, /examples/, /nothing/],
  ['examples that are an object', classify({ examples: { input: flat } }), 400, /an array/, /an object/],
  ['an example without a name', classify({ examples: [flat] }), 400, /examples\[0\].*"input"/, /an array/],
  ['an example of another name', classify({ examples: [{ x: flat }] }), 400, /examples\[0\]/, /"x"/],
  ['a context', classify({ context: {}, examples: [{ input: flat }] }), 400, /only .*examples/, /"context"/],
  // precision
  ['bits=9', predict(one, '?bits=9'), 400, /one of 2/, /got 9/],
  ['bits as text in the body', predict({ ...one, bits: '4' }), 400, /bits: expected one of 2/, /"4"/],
  ['bits twice', predict({ ...one, bits: 4 }, '?bits=4'), 400, /bits: .*query or in the body/, /both/],
  ['bits and a budget', predict({ ...one, max_energy_uj: 1 }, '?bits=4'), 400, /bits or a budget/, /bits and max/],
  ['a budget of 0', predict({ ...one, max_energy_uj: 0 }), 400, /above 0/],
  ['a budget that nothing meets', predict(one, '?max_energy_uj=0.0000001'), 422, /max_energy_uj/, /at least/],
  ['an unknown field', predict({ ...one, bit: 4 }), 400, /only .*bits/, /"bit"/],
  ['an unknown query', predict(one, '?model=tiny'), 400, /only bits/, /"model"/],
  ['a query of a status', get('/tiny?bits=4'), 400, /no field/, /"bits"/],
  // bodies
  ['no body', (http) => http.post('/v1/models/tiny:predict'), 400, /application\/json/, /nothing/],
  ['an empty body', predict(''), 400, /nothing/],
  ['half a body', predict('{"instances":[[0.5,'), 400, /position 19/, /the end/],
  ['an array as body', predict('[1]'), 400, /an object/, /array of 1/],
  ['a deep body', predict(`{"instances":${'['.repeat(50_000)}`), 400, /at most 32/],
  ['a body over the limit', predict(`[${'0,'.repeat(600_000)}0]`), 413, /1048576 bytes/],
  ['an image as body', (http) => post('tiny:predict', 'x')(http).set('content-type', 'image/png'), 400, /position 0/],
  ['an unknown coding', (http) => predict(one)(http).set('content-encoding', 'br'), 415, /gzip, deflate/, /"br"/],
  ['JSON as gzip', (http) => predict(one)(http).set('content-encoding', 'gzip'), 400, /a whole gzip stream/],
  // names and paths
  ['an unknown model', post('nothing:predict', one), 404, /tiny/, /"nothing"/],
  ['an unknown version', post('tiny/versions/7:predict', one), 404, /1, 2/, /7/],
  ['an unknown label', post('tiny/labels/beta:predict', one), 404, /label/, /"beta"/],
  ['a version that is text', post('tiny/versions/one:predict', one), 400, /whole number/, /"one"/],
  ['a version with a point', post('tiny/versions/1.0:predict', one), 400, /whole number/, /"1\.0"/],
  ['version 0', post('tiny/versions/0:predict', one), 400, /at least 1/, /got 0/],
  ['a version past all numbers', post(`tiny/versions/${'9'.repeat(99)}:predict`, one), 404, /1e\+99/],
  ['a label that is a path', post('tiny/labels/..%2fx:predict', one), 404, /a route/],
  ['a label in capitals', post('tiny/labels/Canary:predict', one), 400, /a label/, /"Canary"/],
  ['a model that is a path', post('..%2f..%2fetc:predict', one), 404, /a route/],
  ['a model of dots', post('%2e%2e:predict', one), 400, /a model name/],
  ['a model that is too long', post(`${'a'.repeat(65)}:predict`, one), 400, /a model name/],
  ['a path that does not decode', get('/%E0%A4%A'), 400, /percent-encoding/],
  ['a parameter that is too long', get(`/${'a'.repeat(300)}`), 400, /200 characters/],
  ['another verb', post('tiny:regress', one), 404, /a route/, /tiny:regress/],
  ['no verb', post('tiny', one), 405, /expected GET, HEAD/],
  ['GET of a verb', get('/tiny:predict'), 405, /expected POST/],
  ['no model', get(''), 404, /a route/],
  ['status of an unknown model', get('/nothing'), 404, /"nothing"/],
  ['status of an unknown version', get('/tiny/versions/9'), 404, /9/],
  ['metadata of an unknown model', get('/nothing/metadata'), 404, /"nothing"/],
  ['metadata of an unknown label', get('/tiny/labels/beta/metadata'), 404, /"beta"/],
  ['more than metadata', get('/tiny/metadata/more'), 404, /a route/],
];
