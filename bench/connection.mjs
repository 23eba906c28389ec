import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

const PIECE = 65_536;

/** A bare socket, which tells when a status line came, and whether the connection broke first. */
export class Connection {
  #socket;
  #text = '';
  #at = 0;
  #gone = false;
  #wake = () => {};

  constructor(port) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.opened = once(this.#socket, 'connect');
    this.#socket.on('data', (chunk) => {
      if (this.#text === '') this.#at = performance.now();
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.#gone = true;
      this.#wake();
    });
  }

  /** Resolves when the bytes are with the kernel, or never will be. */
  write(bytes) {
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  /** As a client does that reads a file: others of this thread have their turn between the pieces. */
  async writeInPieces(bytes) {
    for (let at = 0; at < bytes.length && !this.#gone; at += PIECE) {
      await this.write(bytes.subarray(at, at + PIECE));
      await nextTurn();
    }
  }

  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  close() {
    this.#socket.destroy();
  }

  /** The next answer, read to its end: its status, undefined where the connection ended before; and when it began. */
  async answer() {
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n');
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1] ?? 0);
      if (end >= 0 && this.#text.length >= end + 4 + length) {
        const answer = { status: Number(this.#text.slice(9, 12)), at: this.#at };
        this.#text = this.#text.slice(end + 4 + length);
        return answer;
      }
      if (this.#gone) return { at: this.#at };
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
