/** A worker that only pretends to train; what it is to do stands in the request's `dataset`. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { resultOf } from '../../src/jobs/publication.js';
import { STOP, type WorkerInput, type WorkerMessage } from '../../src/jobs/worker-protocol.js';
import { FakeStore } from './fake-store.js';
import type { Script } from './fixtures.js';

const { id, request, attempt, dataDir, stop } = workerData as WorkerInput;
const script = JSON.parse(request.dataset) as Script;
const { stepMs = 0 } = script;
const steps = attempt <= (script.endless ?? 0) ? Number.MAX_SAFE_INTEGER : (script.steps ?? 3);

function say(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

function log(what: string): void {
  appendFileSync(join(dataDir, 'runs.log'), `${what} ${id} ${attempt}\n`);
}

function crash(where: Script['crashAt']): void {
  if (script.crashAt !== where || attempt > (script.crashes ?? Number.POSITIVE_INFINITY)) return;
  log(`crash-${where}`);
  if (script.how === 'exit') process.exit(7);
  if (script.how === 'memory') {
    const kept: unknown[] = [];
    for (;;) kept.push(new Array(100_000).fill(kept.length));
  }
  if (script.how === 'kill') process.kill(process.pid, 'SIGKILL');
  throw new Error('crashed on demand');
}

log('begin');
say({ type: 'backend', name: 'fake' });
for (let step = 1; step <= steps; step++) {
  if (!script.deaf && Atomics.load(stop, 0) !== STOP.no) {
    log(`stop-before-step-${step}`);
    say({ type: 'stopped' });
    // The host ends the thread; nothing after this may run.
    await sleep(60_000);
  }
  if (stepMs > 0) await sleep(stepMs);
  if (step === 2) crash('step');
  const progress = {
    phase: 'training' as const,
    progress: step / steps,
    epoch: 0,
    epochs: request.epochs,
    step,
    steps,
  };
  const numbers = { loss: 1 / step, accuracy: null, norm_weights: null, norm_activations: null };
  say({ type: 'progress', progress: { ...progress, ...numbers, eta_s: steps - step } });
  log(`step-${step}`);
}
if (script.refuse) {
  say({ type: 'failed', error: { code: 'bad_model', message: 'refused on demand' } });
} else {
  let result = { model: request.model, version: null as number | null, digest: null as string | null, accuracies: {} };
  if (request.publish) {
    const store = new FakeStore(dataDir);
    const version = store.publish(request.model, id);
    crash('published');
    store.setCurrentNow(request.model, version.version);
    crash('current');
    result = resultOf(version);
  }
  log('end');
  say({ type: 'succeeded', result });
}
