/**
 * A worker that does not train, but publishes into the real store. Its script is JSON in the request's `dataset`: with
 * `together`, it publishes when as many workers as that are about to.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { markedWithJob, resultOf } from '../../src/jobs/publication.js';
import { STOP, type WorkerInput, type WorkerMessage } from '../../src/jobs/worker-protocol.js';
import { ModelStore } from '../../src/model/store.js';
import { newVersion } from '../model/versions.js';
import type { Script } from './fixtures.js';

const { id, request, attempt, modelsDir, dataDir, stop } = workerData as WorkerInput;
const { steps = 3, stepMs = 5, deaf = false, together = 1 } = JSON.parse(request.dataset) as Script;
const log = (what: string): void => appendFileSync(join(dataDir, 'runs.log'), `${what} ${id} ${attempt}\n`);
const say = (message: WorkerMessage): void => parentPort?.postMessage(message);

log('begin');
for (let step = 1; step <= steps; step++) {
  if (!deaf && Atomics.load(stop, 0) !== STOP.no) {
    say({ type: 'stopped' });
    await sleep(60_000);
  }
  await sleep(stepMs);
  log(`step-${step}`);
}
log('publishes');
const about = (): number => readFileSync(join(dataDir, 'runs.log'), 'utf8').split('publishes').length - 1;
while (about() < together) await sleep(1);
const store = new ModelStore({ modelsDir, dataDir });
// Another thread's attempt has other weights, as on another machine.
const version = newVersion(Math.fround(Math.random()), request.model);
const counts = { seed: 1, examples: 1, epochs: 1, batch_size: 1, learning_rate: 1, duration_s: 1 };
const names = { command: 'none', commit: 'none', architecture: 'tiny', dataset: 'none', backend: 'fake' };
const training = { ...names, ...counts, regularizer: {}, history: [], from: null };
const marked = markedWithJob({ ...version, manifest: { ...version.manifest, training } }, id);
const published = await store.publish(marked, { makeCurrent: true, once: id });
log(`end-${published.version}`);
say({ type: 'succeeded', result: resultOf(published) });
