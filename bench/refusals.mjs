/**
 * How soon a service that is full says so to clients that send 10 MB: from the last byte of the headers to the status line,
 * over a socket, and for how much of that time the server's main thread ran (its wait for a processor is the machine's affair). A thread of its own keeps the queue full; another one asks, one request at a time, so that its own clock is
 * not held up. Nothing here is kind to the client: one of the four ways writes all of its body before it reads a byte.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { Connection } from './connection.mjs';
import { Server } from './server.mjs';

const MODEL = 'cifar10-resnet20';
const PIXELS = 32 * 32 * 3;
/** Instances of each request that fills the queue; so many of them fill it, and two more are at the door. */
const INSTANCES = 32;
const FULL = 4;
/** Milliseconds after which those come again. */
const AGAIN_MS = 5;
const BODY = Buffer.alloc(10_000_000, 0x5b);
/** Connections that send such bodies all the while, in the second half. */
const PRESSING = 4;
const PAUSE_MS = 25;

/** How a request with a large body is sent. */
const WAYS = {
  small: 'a kept connection, 10 bytes (to compare with)',
  fresh: 'a new connection, the body behind the headers',
  kept: 'a kept connection, the body behind the headers',
  deaf: 'a kept connection, nothing read before the whole body is written, from then',
  expect: 'a new connection, Expect: 100-continue',
};

export async function measureRefusals({ each = 200, log = () => {} } = {}) {
  const env = { DEFAULT_MODEL: MODEL, DEFAULT_BITS: '16', MAX_QUEUE: String(INSTANCES * FULL) };
  const server = await Server.start(env);
  const port = Number(new URL(server.url).port);
  const { pid } = server.child;
  const workers = [];
  const start = (task) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { ...task, port, pid } });
    workers.push(worker);
    return worker;
  };
  try {
    const filler = start({ task: 'fill' });
    await once(filler, 'message');
    const rows = [];
    for (const pressing of [0, PRESSING]) {
      if (pressing) await once(start({ task: 'press' }), 'message');
      const [ways] = await once(start({ task: 'ask', each }), 'message');
      for (const row of ways) {
        rows.push({ ...row, pressing });
        log(rows.at(-1));
      }
    }
    filler.postMessage('stop');
    const [accepted] = await once(filler, 'message');
    const [ran, waited] = mainThread(pid).map((ms) => ms / 1000);
    const meanwhile = { ...accepted, ran, waited };
    log(meanwhile);
    return { rows, meanwhile };
  } finally {
    for (const worker of workers) await worker.terminate();
    await server.stop();
  }
}

export function line(r) {
  if (r.way === undefined) {
    return (
      `meanwhile ${r.answered} requests were answered (p50 ${r.p50.toFixed(0)} ms), ${r.broken} broken off; ` +
      `the server's main thread ran ${r.ran.toFixed(1)} s and was ready but had no processor for ${r.waited.toFixed(1)} s`
    );
  }
  const figures = ({ median, p99, most }) => `${median.toFixed(2)} ms, p99 ${p99.toFixed(2)}, most ${most.toFixed(2)}`;
  const others = r.pressing ? `beside ${r.pressing} that send 10 MB all the while, ` : '';
  return (
    `${others}${WAYS[r.way]}: ${r.refused} refused, median ${figures(r.ms)}, ${(100 * r.under5).toFixed(0)} % below 5 ms; ` +
    `the main thread ran ${figures(r.own)}; ` +
    `${r.letIn} let in, ${r.continued} told to continue, ${r.broken} broken off`
  );
}

/** Asks on many connections for as long as it is let; one that is refused asks again at once. */
async function fill({ port }) {
  const request = Buffer.concat([head(INSTANCES * PIXELS), Buffer.alloc(INSTANCES * PIXELS)]);
  let [going, broken] = [true, 0];
  const times = [];
  const sockets = Array.from({ length: FULL + 2 }, () => new Connection(port));
  const all = Promise.all(
    sockets.map(async (socket) => {
      while (going) {
        const start = performance.now();
        socket.write(request);
        const { status } = await socket.answer();
        if (status === 200) times.push(performance.now() - start);
        else if (status === undefined) return void broken++;
        else await sleep(AGAIN_MS);
      }
    }),
  );
  setTimeout(() => parentPort.postMessage('full'), 1000);
  await once(parentPort, 'message');
  going = false;
  await all;
  times.sort((a, b) => a - b);
  parentPort.postMessage({ answered: times.length, p50: times[times.length >> 1], broken });
}

/** All ways by turns, so that what else the machine does is in all of them. */
async function ask({ port, pid, each }) {
  const tallies = Object.fromEntries(Object.keys(WAYS).map((way) => [way, new Tally(way)]));
  const kept = { small: new Connection(port), kept: new Connection(port), deaf: new Connection(port) };
  for (let i = 0; i < each; i++) {
    for (const [way, tally] of Object.entries(tallies)) {
      const socket = kept[way] ?? new Connection(port);
      await socket.opened;
      const [before] = mainThread(pid);
      const answer = await (way === 'expect' ? askFirst(socket, tally, pid) : askWith(socket, way, pid));
      tally.add({ ...answer, own: answer.own - before });
      if (!kept[way]) socket.close();
      else if (answer.status === undefined) kept[way] = new Connection(port);
      // the next headers on a kept connection stand behind this body
      await sleep(PAUSE_MS);
    }
  }
  for (const socket of Object.values(kept)) socket.close();
  return Object.values(tallies).map((tally) => tally.row());
}

/** Sends the body behind the headers; the answer, once both are through. */
async function askWith(socket, way, pid) {
  if (way === 'deaf') socket.pause();
  let start = performance.now();
  const body = way === 'small' ? BODY.subarray(0, 10) : BODY;
  socket.write(head(body.length));
  const written = socket.writeInPieces(body);
  if (way === 'deaf') {
    await written;
    start = performance.now();
    socket.resume();
  }
  const { status, at } = await socket.answer();
  const [own] = mainThread(pid);
  await written;
  return { status, ms: at - start, own };
}

/** Sends the body if it is told to; the answer. */
async function askFirst(socket, tally, pid) {
  const start = performance.now();
  socket.write(head(BODY.length, 'expect: 100-continue\r\n'));
  let answer = await socket.answer();
  if (answer.status === 100) {
    tally.continued++;
    const written = socket.writeInPieces(BODY);
    answer = await socket.answer();
    await written;
  }
  return { status: answer.status, ms: answer.at - start, own: mainThread(pid)[0] };
}

/** Sends 10 MB again and again, refused or not. */
async function press({ port }) {
  parentPort.postMessage('pressing');
  const one = async () => {
    const socket = new Connection(port);
    await socket.opened;
    do {
      socket.write(head(BODY.length));
      await socket.writeInPieces(BODY);
    } while ((await socket.answer()).status !== undefined);
  };
  await Promise.all(Array.from({ length: PRESSING }, one));
}

/** Milliseconds that the thread has run, and that it waited for a processor, by the kernel's count. */
function mainThread(pid) {
  const text = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8');
  return text.split(' ', 2).map((ns) => Number(ns) / 1e6);
}

class Tally {
  #ms = [];
  #own = [];
  #letIn = 0;
  #broken = 0;
  continued = 0;

  constructor(way) {
    this.way = way;
  }

  add({ status, ms, own }) {
    if (status === 503) {
      this.#ms.push(ms);
      this.#own.push(own);
    } else if (status === undefined) this.#broken++;
    else this.#letIn++;
  }

  row() {
    const [ms, own] = [quantiles(this.#ms), quantiles(this.#own)];
    const under5 = this.#ms.filter((x) => x < 5).length / this.#ms.length;
    const { way, continued } = this;
    return { way, refused: this.#ms.length, letIn: this.#letIn, broken: this.#broken, continued, ms, own, under5 };
  }
}

function quantiles(list) {
  const sorted = Float64Array.from(list).sort();
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] ?? Number.NaN;
  return { median: at(0.5), p99: at(0.99), most: at(1) };
}

function head(length, more = '') {
  const lines = [
    'POST /predict HTTP/1.1',
    'host: bench',
    'content-type: application/octet-stream',
    `content-length: ${length}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n${more}\r\n`);
}

if (workerData?.task === 'fill') await fill(workerData);
if (workerData?.task === 'press') await press(workerData);
if (workerData?.task === 'ask') parentPort.postMessage(await ask(workerData));
