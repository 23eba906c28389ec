import { parentPort } from 'node:worker_threads';
import { readCorrections } from '../model/corrections.js';
import { readWeights } from '../model/weights.js';
import { buildPlan } from '../quantize/build.js';
import type { Plan } from '../quantize/plan.js';
import { correctionsOf } from './engine.js';
import type { WorkerReply, WorkerTask } from './workers.js';

/** A plan made ready on a thread. */
export interface PreparedPlan {
  /** @returns logits, batch × classes */
  run(input: Float32Array, batch: number): Float32Array | Promise<Float32Array>;
  dispose?(): void;
}

/**
 * Makes this thread one of a {@link WorkerEngine}: it builds variants and runs them, one task after another. Plans come
 * with their first run and stay until they are released.
 */
export function serveTasks(name: string, prepare: (plan: Plan) => PreparedPlan): void {
  const port = parentPort;
  if (!port) throw new Error('an engine thread was not started as a worker thread');
  const plans = new Map<number, PreparedPlan>();

  const answer = async (task: WorkerTask): Promise<Omit<WorkerReply, 'id'>> => {
    switch (task.kind) {
      case 'name':
        return { name };
      case 'build': {
        const { graph, folder, source, precision } = task;
        const read = { manifest: source, readCorrections: (key: string) => readCorrections(folder, key) };
        const corrections = await correctionsOf(read, precision);
        return { plan: buildPlan(graph, await readWeights(folder), source, precision, corrections) };
      }
      case 'run': {
        if (task.plan) plans.set(task.planId, prepare(task.plan));
        const plan = plans.get(task.planId);
        if (!plan) throw new Error(`no plan ${task.planId} on this thread`);
        const began = performance.now();
        const logits = await plan.run(task.input, task.batch);
        return { logits, computeMs: performance.now() - began };
      }
      case 'release':
        plans.get(task.planId)?.dispose?.();
        plans.delete(task.planId);
        return {};
    }
  };

  port.on('message', (task: WorkerTask & { id: number }) => {
    answer(task).then(
      (reply) => port.postMessage({ id: task.id, ...reply }),
      (error) => {
        const { message, stack, code, extra } = error as Error & { code?: string; extra?: Record<string, unknown> };
        port.postMessage({ id: task.id, error: { message, stack, code, extra } });
      },
    );
  });
}
