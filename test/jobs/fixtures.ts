import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedQueue } from '../../src/jobs/embedded.js';
import type { Job, JobEvent, JobQueue } from '../../src/jobs/job.js';
import type { Logger } from '../../src/jobs/logger.js';
import { type QueueOptions, WORKER_URL } from '../../src/jobs/options.js';
import { parseTrainRequest } from '../../src/jobs/validation.js';
import { ModelStore } from '../../src/model/store.js';
import type { TrainRequest } from '../../src/training/request.js';
import type { TrainingOptions } from '../../src/training/trainer.js';
import { FakeStore } from './fake-store.js';

/** What the fake worker is to do. */
export interface Script {
  steps?: number;
  stepMs?: number;
  /** Where it crashes: in its second step, or when the version is published, or made current too. */
  crashAt?: 'step' | 'published' | 'current';
  how?: 'throw' | 'exit' | 'memory' | 'kill';
  /** Attempts that crash; default all. */
  crashes?: number;
  /** Attempts that would go on for ever. */
  endless?: number;
  /** Never looks whether it is to stop. */
  deaf?: boolean;
  /** Of the worker over the real store: how many publish at the same time. */
  together?: number;
  /** Ends with an error of its own. */
  refuse?: boolean;
}

export const workerUrl = new URL('./fake-worker.js', import.meta.url);

export function request(script: Script = {}, fields: Partial<TrainRequest> = {}): TrainRequest {
  return { ...parseTrainRequest({ model: 'net' }), dataset: JSON.stringify(script), ...fields };
}

const opened = new WeakMap<TestContext, JobQueue[]>();

/** A queue over a {@link temporaryFolder} is closed before the folder goes. */
export function closeWith(t: TestContext, queue: JobQueue): void {
  opened.set(t, [...(opened.get(t) ?? []), queue]);
}

/** Removed at the end of the test, once its queues are closed: what still runs would write into it. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'bitdial-jobs-'));
  t.after(async () => {
    await Promise.all((opened.get(t) ?? []).map((queue) => queue.close()));
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

export interface Line {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
  fields: Record<string, unknown>;
}

/** A logger that keeps what it is told. */
export function keepingLogger(): Logger & { lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line['level']) => (fields: unknown, message?: string) => {
    lines.push({ level, message: message ?? '', fields: fields as Record<string, unknown> });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Logger & {
    lines: Line[];
  };
}

export function options(dataDir: string, more: Partial<QueueOptions> = {}): QueueOptions {
  const modelsDir = join(dataDir, 'models');
  const store = new FakeStore(dataDir);
  return {
    dataDir,
    modelsDir,
    store,
    maxJobs: 100,
    logger: keepingLogger(),
    workerUrl,
    progressIntervalMs: 1,
    ...more,
  };
}

/** For the real worker with the real trainer, and a real store. */
export function realOptions(dataDir: string, training: TrainingOptions) {
  const modelsDir = join(dataDir, 'shipped');
  return { modelsDir, store: new ModelStore({ modelsDir, dataDir }), training, workerUrl: WORKER_URL };
}

/** A queue that is closed with the test, on a folder of its own unless one is given (a {@link temporaryFolder}). */
export async function openQueue(
  t: TestContext,
  more: Partial<QueueOptions> = {},
): Promise<{ queue: EmbeddedQueue; dataDir: string; store: FakeStore }> {
  const dataDir = more.dataDir ?? temporaryFolder(t);
  const queue = await EmbeddedQueue.open(options(dataDir, more));
  closeWith(t, queue);
  return { queue, dataDir, store: new FakeStore(dataDir) };
}

/** Waits for a state by following the events, as a client would. */
export async function ended(queue: JobQueue, id: string): Promise<Job> {
  for await (const _ of queue.events(id, 0, new AbortController().signal));
  return queue.get(id);
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; !(await holds()); await sleep(5)) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
  }
}

export async function eventsOf(queue: JobQueue, id: string, afterId = 0): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of queue.events(id, afterId, new AbortController().signal)) events.push(event);
  return events;
}

/** What the fake workers wrote, line by line: `begin <id> <attempt>`, `step-1 …`, `end …`. */
export function runs(dataDir: string): string[] {
  const path = join(dataDir, 'runs.log');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
}
