import { Worker } from 'node:worker_threads';
import { ServiceError } from '../errors.js';
import type { WorkerAnswer, WorkerInput } from './worker-protocol.js';

const WORKER = new URL('./worker.js', import.meta.url);

export interface ImportThread {
  /** Rejects with the ServiceError that the import met, or another error where the thread failed. */
  answer: Promise<Extract<WorkerAnswer, { kind: 'imported' }>>;
  /** Ends the thread, whatever it does. */
  terminate(): void;
}

/** Runs one import on a thread of its own, which ends with it and gives its memory back. @param heapLimitMb of JavaScript */
export function startImport(input: WorkerInput, heapLimitMb: number): ImportThread {
  const worker = new Worker(WORKER, {
    name: `import ${input.request.model}`,
    workerData: input,
    resourceLimits: { maxOldGenerationSizeMb: heapLimitMb },
  });
  const answer = new Promise<Extract<WorkerAnswer, { kind: 'imported' }>>((resolve, reject) => {
    worker.once('message', (message: WorkerAnswer) => {
      if (message.kind === 'imported') resolve(message);
      else if (message.kind === 'refused') reject(new ServiceError(message.code, message.message, message.extra));
      else reject(Object.assign(new Error(message.message), { stack: message.stack, code: message.code }));
    });
    worker.once('error', (error: NodeJS.ErrnoException) => reject(explained(error, heapLimitMb)));
    worker.once('exit', (code) => reject(new Error(`the thread of an import ended with code ${code}`)));
  });
  return { answer, terminate: () => void worker.terminate() };
}

function explained(error: NodeJS.ErrnoException, heapLimitMb: number): Error {
  if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') return error;
  const expected = `a document that fits into ${heapLimitMb} MB of heap`;
  return new ServiceError('bad_model', `model.json: expected ${expected}, got a larger one`, { expected });
}
