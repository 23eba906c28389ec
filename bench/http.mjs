/**
 * What a prediction costs the server's main thread, the one that every request passes: its processor time over that of a trivial
 * GET, on a net so small that the service itself is what is left; and what 10 000 requests on one connection leave in memory.
 * `node bench/http.mjs [--quick]`, on Linux: the time is the kernel's count for that thread, so that what else runs on the machine is not in it.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { pathToFileURL } from 'node:url';
import { images, tiny } from './nets.mjs';
import { httpTable } from './report.mjs';
import { Server } from './server.mjs';
import { targets } from './targets.mjs';
import { Versions } from './version.mjs';

const WARM_UP = 1500;
const IN_A_ROW = 10_000;

/** @param rounds of all kinds by turns; `each` requests of a kind in a round */
export async function measureHttp({ rounds = 15, each = 300 } = {}) {
  const versions = await Versions.open();
  try {
    const net = tiny();
    await versions.publish(net, {});
    const pixels = images(net, 1);
    // as it is run: a log line for each request
    const env = { MODELS_DIR: versions.modelsDir, DEFAULT_MODEL: net.name, LOG_LEVEL: 'info' };
    const costs = await withServer(env, (client) => measureCosts(client, kinds(pixels), rounds, each));
    const memory = await withServer(env, (client) => measureMemory(client, kinds(pixels).binary));
    return { ...costs, memory };
  } finally {
    await versions.close();
  }
}

/** The same 3072 numbers, as JSON without more digits than a float32 has. */
function kinds(pixels) {
  const numbers = Array.from(pixels, (x) => Number(x.toPrecision(7)));
  return {
    get: { method: 'GET', path: '/health/live', headers: {} },
    binary: {
      method: 'POST',
      path: '/predict?dtype=float32',
      headers: { 'content-type': 'application/octet-stream' },
      body: Buffer.from(pixels.buffer),
    },
    json: {
      method: 'POST',
      path: '/predict',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ instances: [numbers] })),
    },
  };
}

async function measureCosts(client, all, rounds, each) {
  for (const kind of Object.values(all)) await client.times(WARM_UP, kind);
  const costs = { get: [], binary: [], json: [] };
  for (let round = 0; round < rounds; round++) {
    for (const [name, kind] of Object.entries(all)) {
      const before = client.mainThreadMs();
      await client.times(each, kind);
      costs[name].push((client.mainThreadMs() - before) / each);
    }
  }
  const ms = Object.fromEntries(Object.entries(costs).map(([name, list]) => [name, median(list)]));
  return {
    ms,
    over: { binary: ms.binary - ms.get, json: ms.json - ms.get },
    bytes: all.json.body.length,
    rounds,
    each,
  };
}

async function measureMemory(client, kind) {
  await client.times(WARM_UP, kind);
  const before = (await client.server.memory()).rss;
  await client.times(IN_A_ROW, kind);
  const after = (await client.server.memory()).rss;
  return { requests: IN_A_ROW, before, after, growth: after / before - 1, connections: client.connections };
}

async function withServer(env, measure) {
  const server = await Server.start(env);
  const client = new Client(server);
  try {
    return await measure(client);
  } finally {
    client.agent.destroy();
    await server.stop();
  }
}

/** One client on one connection, which it keeps. */
class Client {
  connections = 0;

  constructor(server) {
    this.server = server;
    this.url = new URL(server.url);
    this.agent = new Agent({ keepAlive: true, maxSockets: 1 });
    this.thread = `/proc/${server.child.pid}/task/${server.child.pid}/schedstat`;
  }

  /** Milliseconds that the server's main thread has run since it began. */
  mainThreadMs() {
    return Number(readFileSync(this.thread, 'utf8').split(' ', 1)[0]) / 1e6;
  }

  async times(count, kind) {
    for (let i = 0; i < count; i++) await this.#send(kind);
  }

  #send({ method, path, headers, body }) {
    return new Promise((resolve, reject) => {
      const { hostname, port } = this.url;
      const sent = request({ hostname, port, method, path, headers, agent: this.agent }, (response) => {
        response.resume();
        const wrong = new Error(`${method} ${path}: ${response.statusCode}`);
        response.once('end', () => (response.statusCode === 200 ? resolve() : reject(wrong)));
      });
      sent.once('error', reject);
      sent.once('socket', () => {
        if (!sent.reusedSocket) this.connections++;
      });
      sent.end(body);
    });
  }
}

function median(list) {
  return [...list].sort((a, b) => a - b)[list.length >> 1];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const http = await measureHttp(process.argv.includes('--quick') ? { rounds: 5, each: 100 } : {});
  console.log(httpTable(http));
  for (const { what, wanted, got, met } of targets({ http })) {
    console.log(`${met ? 'met   ' : 'MISSED'}  ${what}: ${got.toPrecision(3)}, wanted ${wanted}`);
  }
}
