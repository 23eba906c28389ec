/** Steady load of mixed models, precisions and budgets: bounded, each client one request at a time. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const RAW = { 'content-type': 'application/octet-stream' };
const JSON_TYPE = { 'content-type': 'application/json' };
const SIZES = { 'mnist-lenet': 28 * 28, 'cifar10-resnet20': 32 * 32 * 3 };
/** Milliseconds between an answer and the client's next request: steady, not as much as the machine bears. */
const PAUSE_MS = 3;

const raw = (model, query) => ({
  path: `/predict?model=${model}&top_k=1&${query}`,
  headers: RAW,
  body: Buffer.alloc(SIZES[model], 7),
});

/** Requests of eighteen variants, and of two budgets. */
const PREDICT = [
  ...[2, 3, 4, 5, 6, 7, 8, 16, 32].map((bits) => raw('mnist-lenet', `bits=${bits}`)),
  ...[2, 3, 4].map((bits) => raw('mnist-lenet', `bits=${bits}&activation_bits=8`)),
  ...[2, 3, 4, 5, 6, 8].map((bits) => raw('cifar10-resnet20', `bits=${bits}`)),
  raw('mnist-lenet', 'max_energy_uj=4'),
  raw('mnist-lenet', 'max_memory_kib=20'),
];

const grey = { name: 'input', shape: [1, 28, 28, 1], datatype: 'UINT8', data: Array(784).fill(7) };
const dark = Array(784).fill(0);

/** Some of these variants by the other protocols: bits in the query, and in a body with the header that says them to the balancer. */
const OTHERS = [
  ...[3, 5, 7].map((bits) => ({
    path: `/v2/models/mnist-lenet/infer?datatype=UINT8&bits=${bits}`,
    headers: { ...RAW, 'inference-header-content-length': '0' },
    body: Buffer.alloc(SIZES['mnist-lenet'], 7),
  })),
  ...[2, 4, 6].map((bits) => ({
    path: '/v2/models/mnist-lenet/infer',
    headers: { 'content-type': 'application/json', 'x-bitdial-bits': String(bits) },
    body: Buffer.from(JSON.stringify({ inputs: [grey], parameters: { bits } })),
  })),
  ...[2, 5, 8].map((bits) => ({
    path: `/v1/models/mnist-lenet:predict?bits=${bits}`,
    headers: JSON_TYPE,
    body: Buffer.from(JSON.stringify({ instances: [dark] })),
  })),
  ...[3, 6].map((bits) => ({
    path: '/v1/models/mnist-lenet:predict',
    headers: { ...JSON_TYPE, 'x-bitdial-bits': String(bits) },
    body: Buffer.from(JSON.stringify({ instances: [dark], bits })),
  })),
  {
    path: '/v1/models/mnist-lenet:classify?bits=4&activation_bits=8',
    headers: JSON_TYPE,
    body: Buffer.from(JSON.stringify({ examples: [{ input: dark }] })),
  },
];

export const MIXED = [...PREDICT, ...OTHERS];

/** So slow for its size that a crowd of them piles up. */
export const SLOW = raw('cifar10-resnet20', 'bits=32');

/** Sends one request; its status, or the error's code, its body and its milliseconds. */
export function send(url, { method = 'POST', path, headers = {}, body, localAddress }, agent) {
  const began = performance.now();
  return new Promise((resolve) => {
    const done = (result) => resolve({ ...result, ms: performance.now() - began });
    const sent = request(url + path, { method, headers, agent, localAddress }, async (response) => {
      try {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      } catch (error) {
        done({ status: error.code ?? 'cut' });
      }
    });
    sent.once('error', (error) => done({ status: error.code ?? error.message }));
    sent.end(body);
  });
}

export class Load {
  /** @param list requests, taken in turn by `clients` clients until `stop` */
  constructor(url, list = MIXED, clients = 6) {
    this.url = url;
    this.list = list;
    this.statuses = {};
    this.failures = [];
    this.times = [];
    this.running = true;
    this.agent = new Agent({ keepAlive: true, maxSockets: clients });
    this.next = 0;
    this.clients = Array.from({ length: clients }, () => this.#client());
  }

  async #client() {
    while (this.running) {
      const one = this.list[this.next++ % this.list.length];
      const { status, ms, body } = await send(this.url, one, this.agent);
      this.statuses[status] = (this.statuses[status] ?? 0) + 1;
      this.times.push(ms);
      if (status !== 200) this.failures.push({ path: one.path, status, answer: body?.toString().slice(0, 200) });
      await sleep(PAUSE_MS);
    }
  }

  async stop() {
    this.running = false;
    await Promise.all(this.clients);
    this.agent.destroy();
    return this;
  }

  get sent() {
    return this.times.length;
  }

  /** Milliseconds under which a share of the answers came. */
  percentile(share) {
    const sorted = Float64Array.from(this.times).sort();
    return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] ?? 0;
  }
}
