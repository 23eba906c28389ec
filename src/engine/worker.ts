import { parentPort } from 'node:worker_threads';
import { readWeights } from '../model/weights.js';
import { buildPlan } from '../quantize/build.js';
import type { Plan } from '../quantize/plan.js';
import { runPlan } from './reference.js';
import type { WorkerReply, WorkerTask } from './workers.js';

/** A thread of the reference engine: builds variants and runs them. Plans come with their first run and stay until dropped. */

const plans = new Map<number, Plan>();
const port = parentPort;
if (!port) throw new Error('worker.ts runs as a worker thread only');

async function answer(task: WorkerTask): Promise<Omit<WorkerReply, 'id'>> {
  switch (task.kind) {
    case 'build': {
      return { plan: buildPlan(task.graph, await readWeights(task.folder), task.source, task.precision) };
    }
    case 'run': {
      if (task.plan) plans.set(task.planId, task.plan);
      const plan = plans.get(task.planId);
      if (!plan) throw new Error(`no plan ${task.planId} on this thread`);
      const began = performance.now();
      const logits = runPlan(plan, task.input, task.batch);
      return { logits, computeMs: performance.now() - began };
    }
    case 'release':
      plans.delete(task.planId);
      return {};
  }
}

port.on('message', (task: WorkerTask & { id: number }) => {
  answer(task).then(
    (reply) => port.postMessage({ id: task.id, ...reply }),
    (error) => {
      const { message, stack, code, extra } = error as Error & { code?: string; extra?: Record<string, unknown> };
      port.postMessage({ id: task.id, error: { message, stack, code, extra } });
    },
  );
});
