import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ERRORS, type ErrorCode, ServiceError } from '../errors.js';
import type { Graph } from '../model/graph.js';
import type { Plan } from '../quantize/plan.js';
import type { Precision } from '../quantize/precision.js';
import type { QuantizerSource } from '../quantize/storage.js';
import type { Engine, EngineCapacity, RunResult, Variant, VariantSource } from './engine.js';

export type WorkerTask =
  | { kind: 'name' }
  | { kind: 'build'; folder: string; graph: Graph; source: QuantizerSource; precision: Precision }
  /** `plan` comes along the first time that a thread meets it. */
  | { kind: 'run'; planId: number; plan: Plan | null; input: Float32Array; batch: number }
  | { kind: 'release'; planId: number };

export interface WorkerReply {
  id: number;
  name?: string;
  plan?: Plan;
  logits?: Float32Array;
  computeMs?: number;
  error?: { message: string; stack?: string; code?: string; extra?: Record<string, unknown> };
}

interface Pending {
  task: WorkerTask;
  resolve(reply: WorkerReply): void;
  reject(error: Error): void;
}

interface Thread {
  worker: Worker;
  busy: Pending | null;
  /** Plans that this thread has. */
  plans: Set<number>;
}

interface WorkerVariant extends Variant {
  readonly plan: Plan;
  planId: number;
}

/** What runs on the threads: the module they start, and what a plan holds there. */
export interface WorkerKind {
  script: URL;
  /** 0: one for each core. */
  threads: number;
  /** Bytes resident for a plan, its arena included. */
  bytes(plan: Plan): number;
}

const REFERENCE: WorkerKind = {
  script: new URL('./reference-worker.js', import.meta.url),
  threads: 0,
  bytes: (plan) => plan.arena.byteLength,
};

/** TF.js keeps weights as float32, on one thread, whose backend has threads of its own. */
const TFJS: WorkerKind = {
  script: new URL('./tfjs-worker.js', import.meta.url),
  threads: 1,
  bytes: (plan) => plan.arena.byteLength + tfjsBytes(plan),
};

/**
 * An engine on worker threads, one queue for all of them, so that neither building a variant nor running one holds up
 * the event loop. The threads share each plan's arena; a plan is posted to a thread the first time it runs there.
 */
export class WorkerEngine implements Engine {
  readonly capacity: EngineCapacity;
  #name = 'reference';
  readonly #kind: WorkerKind;
  readonly #threads: Thread[] = [];
  readonly #queue: Pending[] = [];
  #nextPlan = 1;
  #nextTask = 1;
  #closed = false;

  private constructor(kind: WorkerKind) {
    this.#kind = kind;
    const count = kind.threads || availableParallelism();
    this.capacity = { runs: count, spreads: false };
    for (let i = 0; i < count; i++) this.#threads.push(this.#start());
  }

  /** The reference engine. @param threads 0: one for each core */
  static async create({ threads = 0 }: { threads?: number } = {}): Promise<WorkerEngine> {
    return new WorkerEngine({ ...REFERENCE, threads });
  }

  /** The `tfjs` engine, named after the backend that TF.js found: `tfjs-tensorflow` or `tfjs-wasm`. */
  static async createTfjs(): Promise<WorkerEngine> {
    const engine = new WorkerEngine(TFJS);
    engine.#name = (await engine.#submit({ kind: 'name' })).name as string;
    return engine;
  }

  get name(): string {
    return this.#name;
  }

  async build(source: VariantSource, precision: Precision): Promise<WorkerVariant> {
    const { input, ranges, quantizer } = source.manifest;
    const began = performance.now();
    const reply = await this.#submit({
      kind: 'build',
      folder: source.folder,
      graph: source.graph,
      source: { input, ranges, quantizer },
      precision,
    });
    const plan = reply.plan as Plan;
    const buildMs = performance.now() - began;
    return {
      plan,
      precision,
      memoryBytes: this.#kind.bytes(plan),
      buildMs,
      engine: this.name,
      planId: this.#nextPlan++,
    };
  }

  async run(variant: Variant, input: Float32Array, batch: number): Promise<RunResult> {
    const { plan, planId } = variant as WorkerVariant;
    const began = performance.now();
    const reply = await this.#submit({ kind: 'run', planId, plan, input, batch });
    const computeMs = reply.computeMs as number;
    return { logits: reply.logits as Float32Array, computeMs, queueMs: performance.now() - began - computeMs };
  }

  release(variant: Variant): void {
    const { planId } = variant as WorkerVariant;
    for (const thread of this.#threads) {
      if (thread.plans.delete(planId)) thread.worker.postMessage({ id: 0, kind: 'release', planId });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const pending of this.#queue.splice(0)) pending.reject(new Error('the engine is closed'));
    await Promise.all(this.#threads.map((t) => t.worker.terminate()));
  }

  #submit(task: WorkerTask): Promise<WorkerReply> {
    if (this.#closed) return Promise.reject(new Error('the engine is closed'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ task, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    for (const thread of this.#threads) {
      if (thread.busy) continue;
      const pending = this.#queue.shift();
      if (!pending) return;
      thread.busy = pending;
      thread.worker.ref();
      const { task } = pending;
      const id = this.#nextTask++;
      if (task.kind !== 'run') thread.worker.postMessage({ id, ...task });
      else {
        const known = thread.plans.has(task.planId);
        thread.plans.add(task.planId);
        thread.worker.postMessage({ id, ...task, plan: known ? null : task.plan });
      }
    }
  }

  #start(): Thread {
    const worker = new Worker(this.#kind.script);
    // A thread keeps the process alive only while it works.
    worker.unref();
    const thread: Thread = { worker, busy: null, plans: new Set() };
    worker.on('message', (reply: WorkerReply) => {
      if (reply.id === 0) return;
      const pending = thread.busy;
      thread.busy = null;
      worker.unref();
      if (reply.error) pending?.reject(revive(reply.error));
      else pending?.resolve(reply);
      this.#dispatch();
    });
    worker.on('error', (error) => this.#replace(thread, error));
    worker.on('exit', (code) => this.#replace(thread, new Error(`an engine thread ended with code ${code}`)));
    return thread;
  }

  /** A thread that died fails its task and makes room for a new one. */
  #replace(thread: Thread, error: Error): void {
    const at = this.#threads.indexOf(thread);
    thread.busy?.reject(error);
    thread.busy = null;
    if (at < 0 || this.#closed) return;
    this.#threads[at] = this.#start();
    this.#dispatch();
  }
}

/** An error as the thread threw it: a ServiceError stays one. */
function revive(error: NonNullable<WorkerReply['error']>): Error {
  if (error.code !== undefined && error.code in ERRORS) {
    return new ServiceError(error.code as ErrorCode, error.message, error.extra);
  }
  return Object.assign(new Error(error.message), { stack: error.stack });
}

/** Kernels, biases and multipliers as float32. */
function tfjsBytes(plan: Plan): number {
  let floats = 0;
  for (const op of plan.ops) {
    if ('weights' in op) floats += op.weights.rows * (op.weights.columns + (op.multipliers ? 2 : 1));
  }
  return floats * 4;
}
