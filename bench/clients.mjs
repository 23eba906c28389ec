/**
 * A thread with so many HTTP clients, each on a connection of its own that it keeps, each asking anew as soon as it has its
 * answer. Bare sockets, so that the clients take little of the processor that the server needs.
 */
import { connect } from 'node:net';
import { parentPort, Worker } from 'node:worker_threads';

export class Clients {
  #worker = new Worker(new URL(import.meta.url));

  /** @returns {Promise<{rate: number, p50: number, p99: number, failed: number}>} answers a second, milliseconds */
  run(task) {
    return new Promise((resolve, reject) => {
      const worker = this.#worker;
      worker.once('error', reject);
      worker.once('message', (result) => {
        worker.off('error', reject);
        resolve(result);
      });
      worker.postMessage(task);
    });
  }

  close() {
    return this.#worker.terminate();
  }
}

const sockets = new Map();

parentPort?.on('message', async ({ port, path, body, clients, ms }) => {
  const head = `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/octet-stream\r\ncontent-length: ${body.length}\r\n\r\n`;
  const request = Buffer.concat([Buffer.from(head), body]);
  const open = sockets.get(port) ?? [];
  sockets.set(port, open);
  while (open.length < clients) open.push(await opened(port));
  const times = [];
  let failed = 0;
  const began = performance.now();
  const ask = async (socket) => {
    while (performance.now() - began < ms) {
      const start = performance.now();
      if ((await answer(socket, request)) !== 200) failed++;
      times.push(performance.now() - start);
    }
  };
  await Promise.all(open.slice(0, clients).map(ask));
  const seconds = (performance.now() - began) / 1000;
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  parentPort.postMessage({ rate: times.length / seconds, p50: at(0.5), p99: at(0.99), failed });
});

function opened(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Status of the answer to one request. */
function answer(socket, request) {
  return new Promise((resolve) => {
    let text = '';
    const onData = (chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      socket.off('data', onData);
      resolve(Number(text.slice(9, 12)));
    };
    socket.on('data', onData);
    socket.write(request);
  });
}
