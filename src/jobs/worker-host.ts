import { totalmem } from 'node:os';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import type { JobResult } from './job.js';
import type { Logger } from './logger.js';
import type { WorkerInput, WorkerMessage, WorkerNews } from './worker-protocol.js';

/** How an attempt ended. `died`: the thread went away without a word, so another attempt may do better. */
export type Outcome =
  | { kind: 'succeeded'; result: JobResult }
  | { kind: 'stopped' }
  | { kind: 'failed'; error: { code: string; message: string } }
  | { kind: 'died'; reason: string };

export interface WorkerRun {
  /** Resolves once the thread is gone; never rejects. */
  outcome: Promise<Outcome>;
  /** Ends the thread between two JavaScript instructions, whatever it does. */
  terminate(): void;
}

export interface WorkerOptions {
  onMessage(message: WorkerNews): void;
  logger: Logger;
  /** Megabytes of JavaScript heap for the thread; tensors live outside of it. */
  heapLimitMb: number;
}

const MIB = 1024 * 1024;

/** Runs one attempt of a job on a thread of its own, which ends with it and gives its memory back. */
export function startWorker(url: URL, input: WorkerInput, options: WorkerOptions): WorkerRun {
  const { onMessage, logger, heapLimitMb } = options;
  let last: Outcome | null = null;
  let terminated = false;
  let worker: Worker;
  try {
    worker = new Worker(url, {
      name: `training ${input.id}`,
      workerData: input,
      resourceLimits: { maxOldGenerationSizeMb: heapLimitMb },
      stdout: true,
      stderr: true,
    });
  } catch (error) {
    return { outcome: Promise.resolve({ kind: 'died', reason: messageOf(error) }), terminate: () => undefined };
  }
  // What libraries print goes to the log, not among the lines of the service's own log.
  for (const stream of [worker.stdout, worker.stderr])
    logLines(stream, (text) => logger.debug({ text }, 'worker output'));

  const outcome = new Promise<Outcome>((resolve) => {
    worker.on('message', (message: WorkerMessage) => {
      if (last !== null) return;
      if (message.type === 'succeeded') last = { kind: 'succeeded', result: message.result };
      else if (message.type === 'stopped') last = { kind: 'stopped' };
      else if (message.type !== 'failed') {
        onMessage(message);
        return;
      } else {
        logger.error({ err: { message: message.error.message, stack: message.stack } }, 'the training failed');
        last = { kind: 'failed', error: message.error };
      }
      void worker.terminate();
    });
    worker.on('messageerror', (error) => logger.error({ err: error }, 'a message of the worker cannot be read'));
    worker.on('error', (error: NodeJS.ErrnoException) => {
      logger.error({ err: error }, 'the worker thread failed');
      last ??= { kind: 'failed', error: { code: codeOf(error), message: messageOf(error) } };
    });
    worker.on('exit', (code) => {
      const reason = terminated ? 'the worker thread was ended' : `the worker thread ended with exit code ${code}`;
      resolve(last ?? { kind: 'died', reason });
    });
  });
  return {
    outcome,
    terminate() {
      terminated = true;
      void worker.terminate();
    },
  };
}

/**
 * Megabytes of JavaScript heap for a training: half of what the machine or container has, between 256 and 4096, so that
 * one that runs wild ends alone.
 */
export function defaultHeapLimitMb(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const total = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.round(Math.min(4096, Math.max(256, total / MIB / 2)));
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'out_of_memory' : 'training_failed';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function logLines(stream: Readable, log: (text: string) => void): void {
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const trimmed = text.trim();
    if (trimmed !== '') log(trimmed.slice(0, 2000));
  });
}
