import { AUTHORIZATION } from './app.js';
import { admin, type Line } from './bad-lines.js';

const body = { model: 'net', path: 'net' };
const json = (changes: Record<string, unknown>) => admin('post', '/models', { ...body, ...changes });
const archive =
  (query: string, bytes: string | Buffer = 'x', type = 'application/x-tar') =>
  (http: Parameters<Line[1]>[0]) =>
    http.post(`/admin/models${query}`).set('authorization', AUTHORIZATION).set('content-type', type).send(bytes);

/** What is wrong with a request to import a model, before a file is looked at. */
export const IMPORTS: Line[] = [
  [
    'import of nothing',
    admin('post', '/models'),
    'empty_body',
    null,
    /application\/json, application\/x-tar/,
    /nothing/,
  ],
  ['import without a model', admin('post', '/models', { path: 'net' }), 'missing_field', 'model', /model name/],
  ['import without a path', admin('post', '/models', { model: 'net' }), 'missing_field', 'path', /a string/],
  ['import under a bad name', json({ model: 'My Net' }), 'invalid_field', 'model', /model name/, /"My Net"/],
  ['import of a number', json({ path: 7 }), 'invalid_field', 'path', /a string/, /7/],
  ['import of an empty path', json({ path: '' }), 'invalid_field', 'path', /at least 1 characters/, /""/],
  ['import with an unknown field', json({ labels_file: 'x' }), 'unknown_field', 'labels_file', /labels/],
  [
    'unknown preprocessing',
    json({ preprocessing: 'imagenet' }),
    'invalid_field',
    'preprocessing',
    /torch/,
    /"imagenet"/,
  ],
  ['unknown resize', json({ resize: 'stretch' }), 'invalid_field', 'resize', /fill, cover, contain/, /"stretch"/],
  ['a range of one', json({ input_range: [1] }), 'invalid_field', 'input_range', /an array of 2 to 2/, /array of 1/],
  ['a range of text', json({ input_range: ['0', '1'] }), 'invalid_field', 'input_range.0', /number/, /"0"/],
  ['a range upside down', json({ input_range: [1, 0] }), 'invalid_field', 'input_range', /low below high/, /\[1,0\]/],
  [
    'a range and a preprocessing',
    json({ input_range: [0, 1], preprocessing: 'tf' }),
    'invalid_field',
    'input_range',
    /nothing beside preprocessing/,
  ],
  ['a shape of two', json({ input_shape: [28, 28] }), 'invalid_field', 'input_shape', /an array of 3 to 3/],
  ['a shape of zero', json({ input_shape: [28, 28, 0] }), 'invalid_field', 'input_shape.2', /at least 1/, /0/],
  ['labels as text', json({ labels: 'a' }), 'invalid_field', 'labels', /an array/, /"a"/],
  ['an empty label', json({ labels: ['a', ''] }), 'invalid_field', 'labels.1', /a string of 1 to 256/, /""/],
  ['no labels', json({ labels: [] }), 'invalid_field', 'labels', /an array of 1/, /array of 0/],
  ['half an image', json({ calibration_images: 0.5 }), 'invalid_field', 'calibration_images', /whole number/, /0\.5/],
  ['make_current as text', json({ make_current: 'yes' }), 'invalid_field', 'make_current', /true or false/, /"yes"/],
  [
    'an import in fields and query',
    admin('post', '/models?model=net', body),
    'unknown_field',
    'model',
    /no field in the query beside a JSON body/,
    /"model"/,
  ],
  ['an archive without a model', archive(''), 'missing_field', 'model', /a name/, /nothing/],
  ['an archive under a bad name', archive('?model=..'), 'invalid_field', 'model', /model name/, /"\.\."/],
  ['an archive with a path', archive('?model=net&path=x'), 'unknown_field', 'path', /only model/, /"path"/],
  [
    'an archive with a range of words',
    archive('?model=net&input_range=a,b'),
    'invalid_field',
    'input_range',
    /low,high/,
  ],
  [
    'an archive with a range upside down',
    archive('?model=net&input_range=1,-1'),
    'invalid_field',
    'input_range',
    /low/,
  ],
  ['an archive with a shape of two', archive('?model=net&input_shape=1,2'), 'invalid_field', 'input_shape', /channels/],
  ['an archive of nothing', archive('?model=net', ''), 'empty_body', null, /application\/x-tar/, /nothing/],
  ['a model as a zip', archive('?model=net', 'PK', 'application/zip'), 'unsupported_media_type', null, /x-tar/, /zip/],
  [
    'a model as a form',
    archive('?model=net', 'a=b', 'multipart/form-data; boundary=x'),
    'unsupported_media_type',
    null,
    /x-tar/,
  ],
];
