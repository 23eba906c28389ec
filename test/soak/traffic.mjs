/** Clients of every kind, until they are told to stop: good, bad, and those that hang up. */
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MIXED, send } from '../balancer/load.mjs';
import { badRequests } from './bad-requests.mjs';

const RAW = { 'content-type': 'application/octet-stream' };
/** Instances of a large request. */
const MANY = 32;

/** A precision that is wider than the variant cache is refused in words: a right answer to a request of that kind. */
const GOOD = [
  ...MIXED,
  { path: '/predict?model=cifar10-resnet20&bits=16', headers: RAW, body: Buffer.alloc(3072, 9), mayBeTooLarge: true },
  { path: '/predict?model=cifar10-resnet20&bits=32', headers: RAW, body: Buffer.alloc(3072, 9), mayBeTooLarge: true },
  { path: '/predict?bits=4&top_k=3', headers: RAW, body: Buffer.alloc(MANY * 784, 3) },
  {
    path: '/predict?bits=6',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ instances: [Array(784).fill(0.25)] })),
  },
  ...['/models', '/models/mnist-lenet', '/models/cifar10-resnet20/variants', '/health/ready', '/health/live'].map(
    (path) => ({
      method: 'GET',
      path,
    }),
  ),
];

export class Traffic {
  /** @param random numbers in [0, 1) */
  constructor(service, tally, random, { authorization, maxBodyBytes }) {
    Object.assign(this, { service, tally, random, running: true });
    this.bad = badRequests(authorization, maxBodyBytes);
    this.agent = new Agent({ keepAlive: true, maxSockets: 16 });
    const good = Array.from({ length: 4 }, () => this.#loop(() => this.#good(), 4));
    this.clients = [
      ...good,
      this.#loop(() => this.#bad(), 25),
      this.#loop(() => this.#hangUp(), 40),
      this.#loop(() => this.#garbage(), 300),
    ];
  }

  async #loop(one, pauseMs) {
    while (this.running) {
      await one();
      await sleep(2 * pauseMs * this.random());
    }
  }

  #pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  async #good() {
    const one = this.#pick(GOOD);
    const { status, body } = await send(this.service.url, one, this.agent);
    const right = status === 200 || (status === 422 && one.mayBeTooLarge);
    this.tally.add('good', status, right, `${one.path}: ${body}`);
  }

  async #bad() {
    const { statuses, request } = this.#pick(this.bad);
    // on a connection of its own: some of them end it
    const { status, body } = await send(this.service.url, request, new Agent());
    this.tally.add(
      'bad',
      status,
      statuses.includes(status),
      `expected ${statuses} to ${request.method} ${request.path.slice(0, 60)}: ${body}`,
    );
  }

  /** Half a body, or a whole one whose answer nobody waits for. */
  async #hangUp() {
    const body = Buffer.alloc(MANY * 3072, 1);
    const sent = httpRequest(
      `${this.service.url}/predict?model=cifar10-resnet20&bits=${2 + Math.floor(this.random() * 7)}`,
      {
        method: 'POST',
        headers: { ...RAW, 'content-length': body.length },
      },
    );
    sent.on('error', () => undefined).on('response', (response) => response.on('error', () => undefined).resume());
    if (this.random() < 0.5) sent.write(body.subarray(0, body.length >> 1));
    else sent.end(body);
    await sleep(20 * this.random());
    sent.destroy();
    this.tally.add('hung up', 'gone', true);
  }

  /** What is no HTTP: a 400 on the bare socket, or a closed one. */
  #garbage() {
    return new Promise((resolve) => {
      let text = '';
      const socket = connect(this.service.port, '127.0.0.1', () => socket.write('\u0016\u0003\u0001 hello\r\n\r\n'));
      socket.setEncoding('latin1').on('data', (data) => {
        text += data;
      });
      socket.on('error', () => undefined);
      socket.once('close', () => {
        const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'closed';
        this.tally.add('no HTTP', status, status === '400' || status === 'closed', text);
        resolve();
      });
    });
  }

  async stop() {
    this.running = false;
    await Promise.all(this.clients);
    this.agent.destroy();
  }
}
