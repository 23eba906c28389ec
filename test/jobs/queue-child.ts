import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Answer, ChildOptions, Order } from './queue-process.js';

/** A {@link file://./queue-process.ts} and what it has answered. */
export class QueueChild {
  readonly answers: Answer[] = [];
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;

  constructor(dataDir: string, more: ChildOptions = {}) {
    const script = fileURLToPath(new URL('./queue-process.js', import.meta.url));
    this.#child = fork(script, [dataDir, JSON.stringify(more)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (answer: Answer) => this.answers.push(answer));
    this.#child.on('error', () => undefined);
    this.#gone = once(this.#child, 'exit');
  }

  send(order: Order): void {
    this.#child.send(order, () => undefined);
  }

  async answered(test: (answer: Answer) => boolean): Promise<Answer> {
    for (;;) {
      const found = this.answers.find(test);
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null) throw new Error(`the child ended with ${this.#child.exitCode}`);
      await Promise.race([once(this.#child, 'message'), this.#gone]);
    }
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  get gone(): Promise<unknown> {
    return this.#gone;
  }
}
