/** Requests that no client should send, each with the answer that it deserves. */
const JSON_TYPE = { 'content-type': 'application/json' };
const RAW = { 'content-type': 'application/octet-stream' };
const predict = (query, headers, body) => ({ method: 'POST', path: `/predict?${query}`, headers, body });
const json = (body, query = '') => predict(query, JSON_TYPE, Buffer.from(body));
const pixels = Buffer.alloc(784);
const notANumber = Buffer.from(Float32Array.from({ length: 784 }, () => Number.NaN).buffer);

/** Wrong tokens come from another address, since too many of them shut out who sends them. */
const STRANGER = '127.0.0.2';

/** @param authorization of the admin; @param maxBodyBytes of the service */
export function badRequests(authorization, maxBodyBytes) {
  const admin = { ...JSON_TYPE, authorization };
  return [
    // queries
    [400, predict('bits=9', RAW, pixels)],
    [400, predict('bits=four', RAW, pixels)],
    [400, predict('bits=4&bits=5', RAW, pixels)],
    [400, predict('bits=4&max_energy_uj=1', RAW, pixels)],
    [400, predict('bitz=4', RAW, pixels)],
    [400, predict('__proto__=4', RAW, pixels)],
    [400, predict('top_k=0', RAW, pixels)],
    [422, predict('max_energy_uj=0.0001', RAW, pixels)],
    [404, predict('model=nobody', RAW, pixels)],
    [404, predict('version=4711', RAW, pixels)],
    // bodies
    [400, predict('', RAW, pixels.subarray(1))],
    [400, predict('', RAW, Buffer.alloc(0))],
    [400, predict('dtype=float32', RAW, notANumber)],
    [400, predict('', { 'content-type': 'image/png' }, Buffer.from('no image'))],
    [415, predict('', { 'content-type': 'text/plain' }, Buffer.from('7'))],
    [415, predict('', { ...RAW, 'content-encoding': 'gzip' }, pixels)],
    [413, predict('', RAW, Buffer.alloc(maxBodyBytes + 1))],
    [400, json('{"instances":[[0.5,')],
    [400, json('{"instances":[[NaN]]}')],
    [400, json('{"instances":[[1e999]]}')],
    [400, json('{"instances":[]}')],
    [400, json('{"instances":[{"b64":"////"}]}')],
    [400, json(`{"instances":${'['.repeat(20_000)}${']'.repeat(20_000)}}`)],
    [400, json(`{"instances":[${Array(65).fill('[0]')}]}`)],
    [400, json('{"instances":[[0]],"more":1}')],
    // paths, methods, headers
    [404, { method: 'GET', path: '/nowhere' }],
    [405, { method: 'PATCH', path: '/predict' }],
    [400, { method: 'GET', path: '/models/..%2f..%2fetc' }],
    [400, { method: 'GET', path: '/models/%zz' }],
    [400, { method: 'GET', path: `/models/${'a'.repeat(300)}` }],
    [431, { method: 'GET', path: '/models', headers: { 'x-long': 'a'.repeat(20_000) } }],
    // administration
    [[401, 429], { method: 'GET', path: '/admin/jobs', localAddress: STRANGER }],
    [
      [401, 429],
      {
        method: 'POST',
        path: '/admin/train',
        headers: { ...JSON_TYPE, authorization: 'Bearer no' },
        body: '{}',
        localAddress: STRANGER,
      },
    ],
    [404, { method: 'GET', path: '/admin/jobs/nothing', headers: { authorization } }],
    [400, { method: 'POST', path: '/admin/train', headers: admin, body: '{"model":"m","epochz":1}' }],
    [400, { method: 'POST', path: '/admin/train', headers: admin, body: '{"model":"../m","dataset":"mnist"}' }],
    [400, { method: 'POST', path: '/admin/train', headers: admin, body: '{"model":"m","dataset":"none"}' }],
    [404, { method: 'POST', path: '/admin/models/mnist-lenet/current', headers: admin, body: '{"version":4711}' }],
    [404, { method: 'DELETE', path: '/admin/datasets/nothing', headers: { authorization } }],
    [
      400,
      {
        method: 'POST',
        path: '/admin/datasets?name=x',
        headers: { 'content-type': 'application/x-tar', authorization },
        body: Buffer.alloc(700, 65),
      },
    ],
  ].map(([statuses, request]) => ({ statuses: [statuses].flat(), request }));
}
