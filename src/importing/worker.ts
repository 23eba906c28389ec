import { parentPort, workerData } from 'node:worker_threads';
import { ServiceError } from '../errors.js';
import { ModelStore } from '../model/store.js';
import { giveWay } from '../priority.js';
import { importModelFolder } from './import.js';
import type { WorkerAnswer, WorkerInput } from './worker-protocol.js';

/** The thread of one import: reads, checks, publishes, says how it went. */

giveWay();
parentPort?.postMessage(await work(workerData as WorkerInput));

async function work(input: WorkerInput): Promise<WorkerAnswer> {
  try {
    const { path, calibration, request, modelsDir, dataDir } = input;
    const store = new ModelStore({ modelsDir, dataDir });
    const { version, summary } = await importModelFolder(path, calibration, request, input);
    const published = await store.publish(version, { makeCurrent: request.makeCurrent });
    return { kind: 'imported', version: published.version, digest: published.digest, summary };
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    if (error instanceof ServiceError) return { kind: 'refused', code: error.code, message, extra: error.extra };
    return { kind: 'failed', message, stack, code: (error as NodeJS.ErrnoException).code };
  }
}
