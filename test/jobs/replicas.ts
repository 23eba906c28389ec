/** Several processes' worth of one queue over Redis: replicas in this process, trainers in processes of their own. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import type { JobEvent } from '../../src/jobs/job.js';
import { Keys } from '../../src/jobs/redis/keys.js';
import type { RedisQueue } from '../../src/jobs/redis/queue.js';
import { RedisServer } from '../support/redis-server.js';
import { closeWith, options, runs, temporaryFolder, until } from './fixtures.js';
import { TIMES } from './times.js';

/** A job that is still running when the test is done with it. */
export const LONG = { steps: 100_000, stepMs: 10 };

/** Their ids count on, none left out. */
export function continuous(events: JobEvent[], from = 1): void {
  assert.deepEqual(
    events.map((e) => e.id),
    events.map((_e, i) => from + i),
  );
}
/** `state attempts` of the changes of state. */
export const states = (events: JobEvent[]) =>
  events.filter((e) => e.type === 'state').map((e) => `${e.data.state} ${e.data.attempts}`);
/** The fake worker is well within an attempt. */
export const stepped = (replicas: Replicas, attempt = 1) =>
  until(`a step of attempt ${attempt}`, () =>
    runs(replicas.dataDir).some((l) => l.startsWith('step-2') && l.endsWith(` ${attempt}`)),
  );

export class Replicas {
  readonly dataDir: string;
  readonly redis: RedisServer;
  readonly #test: TestContext;

  private constructor(t: TestContext, dataDir: string, redis: RedisServer) {
    this.#test = t;
    this.dataDir = dataDir;
    this.redis = redis;
  }

  /** Over a Redis server of its own, unless one is given. */
  static async over(t: TestContext, given?: RedisServer): Promise<Replicas> {
    const dataDir = temporaryFolder(t);
    const redis = given ?? (await RedisServer.start());
    if (given === undefined) t.after(() => redis.stop());
    return new Replicas(t, dataDir, redis);
  }

  /** One that gives jobs to trainers and runs none. */
  async serving({ waits = true } = {}): Promise<RedisQueue> {
    const { RedisQueue } = await import('../../src/jobs/redis/queue.js');
    const { dataDir, redis } = this;
    const where = { url: redis.url, prefix: basename(dataDir) };
    const queue = await RedisQueue.open({ ...options(dataDir), ...where, trains: false, ...TIMES });
    closeWith(this.#test, queue);
    if (waits) await until('Redis is there', () => queue.redis === 'up');
    return queue;
  }

  /** A look behind the queue's back. */
  client(): { redis: Redis; recordKey(id: string): string } {
    const redis = new Redis(this.redis.url);
    this.#test.after(() => redis.disconnect());
    return { redis, recordKey: new Keys(basename(this.dataDir)).job };
  }

  /** @param worker the fake one, or the one over the real store */
  async trainer(worker: 'fake' | 'store' = 'fake'): Promise<TrainerProcess> {
    const { dataDir, redis } = this;
    const script = fileURLToPath(new URL('./trainer-process.js', import.meta.url));
    const child = fork(script, [dataDir, redis.url, basename(dataDir), worker]);
    const trainer = new TrainerProcess(child);
    this.#test.after(() => trainer.kill());
    // A job may end it as soon as it is open.
    await Promise.race([once(child, 'message'), trainer.gone]);
    return trainer;
  }
}

export class TrainerProcess {
  readonly gone: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.gone = once(child, 'exit');
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.gone;
  }
  pause(): void {
    this.#child.kill('SIGSTOP');
  }
  resume(): void {
    this.#child.kill('SIGCONT');
  }
  /** Resolves to the exit code. */
  async close(): Promise<number | null> {
    this.#child.send('close');
    await this.gone;
    return this.#child.exitCode;
  }
}
