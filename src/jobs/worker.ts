import { parentPort, workerData } from 'node:worker_threads';
import { ServiceError } from '../errors.js';
import { ModelStore } from '../model/store.js';
import { giveWay } from '../priority.js';
import { TrainingCancelled, type TrainingProgress } from '../training/request.js';
import { startingPoint } from '../training/starting-point.js';
import { train } from '../training/trainer.js';
import type { JobResult } from './job.js';
import { markedWithJob, resultOf } from './publication.js';
import { STOP, type WorkerInput, type WorkerMessage } from './worker-protocol.js';

/** The thread of one training job: trains, publishes, says how it went. */

const { id, request, modelsDir, dataDir, training, checkpoint, stop } = workerData as WorkerInput;
say(await work());

async function work(): Promise<WorkerMessage> {
  try {
    giveWay();
    const store = new ModelStore({ modelsDir, dataDir });
    let last: TrainingProgress | null = null;
    const hooks = {
      onProgress(progress: TrainingProgress): void {
        last = progress;
        say({ type: 'progress', progress });
      },
      isCancelled: () => Atomics.load(stop, 0) !== STOP.no,
      onBackend: (name: string) => say({ type: 'backend', name }),
      onCheckpoint: (progress: TrainingProgress) => say({ type: 'checkpoint', progress }),
      onNotice: (level: 'info' | 'warn', text: string) => say({ type: 'notice', level, text }),
    };
    const start = await startingPoint(store, request);
    const { version, accuracies } = await train(request, hooks, start, { ...training, dataDir, checkpoint });
    if (hooks.isCancelled()) throw new TrainingCancelled();
    let result: JobResult = { model: request.model, version: null, digest: null, accuracies };
    if (request.publish) {
      if (last !== null) hooks.onProgress({ ...(last as TrainingProgress), phase: 'publishing' });
      // once: another trainer may have the job by now, where this one was out of touch for long
      result = resultOf(await store.publish(markedWithJob(version, id), { makeCurrent: true, once: id }));
    }
    return { type: 'succeeded', result };
  } catch (error) {
    if (error instanceof TrainingCancelled) return { type: 'stopped' };
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const code = error instanceof ServiceError ? error.code : 'training_failed';
    return { type: 'failed', error: { code, message }, stack };
  }
}

function say(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}
