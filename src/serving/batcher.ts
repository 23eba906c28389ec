import type { Engine, RunResult, Variant } from '../engine/engine.js';
import { countTogether, type Instances, mergeInputs, splitLogits } from './batch.js';
import type { Patience } from './patience.js';

export interface BatcherOptions {
  engine: Pick<Engine, 'run' | 'capacity'>;
  /** Instances of a batch at most; 1: every request is a run of its own. */
  maxBatch: number;
  /** How long a request waits for company, in milliseconds, while something runs and the engine has room. */
  waitMs: number;
  /** Called as each run ends well. */
  onBatch?: (run: BatchRun) => void;
  /** In milliseconds, of a clock that does not go back. */
  now?: () => number;
}

export interface BatchRun {
  variant: Variant;
  requests: number;
  instances: number;
  computeMs: number;
  /** Milliseconds that the first of them waited for the engine to take the batch. */
  waitedMs: number;
}

export interface BatchedResult extends RunResult {
  /** Instances that ran together, others' included. */
  together: number;
}

export interface BatchedRequest extends Instances {
  /** Instances of the batch that it may ride in at most, its own included; default: any number. */
  company?: number;
  /** Where it ends while the request waits, the request leaves. */
  patience?: Patience | null;
}

/** Where nothing is gathered, the engine has this many times the runs that it works on: the next is there at once. */
export const RUNS_AHEAD = 8;

interface Waiting extends Instances {
  company: number;
  since: number;
  resolve(result: BatchedResult): void;
  reject(error: Error): void;
}

/** Requests for one variant that wait, the first come first. */
interface Queue {
  variant: Variant;
  waiting: Waiting[];
  instances: number;
}

/**
 * Makes one run of requests that wait for the same variant.
 *
 * The rule: where nothing runs a request is dispatched at once. While something runs, the requests for a variant gather until
 * they fill a batch, or the first has waited `waitMs`, or nothing runs any more; when the engine has room for a run, of the
 * variants that need not wait the one whose first request has waited longest is next, with as many as fit a batch. While the engine has no room, waiting costs nothing
 * and has no bound here: it is the queue that admission bounds. Dispatching then would only end the gathering.
 */
export class Batcher {
  readonly #options: BatcherOptions;
  readonly #now: () => number;
  readonly #capacity: NonNullable<Engine['capacity']>;
  readonly #queues = new Map<Variant, Queue>();
  #runs = 0;
  #running = 0;
  #waiting = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: BatcherOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const { runs, spreads } = options.engine.capacity ?? { runs: 1, spreads: false };
    this.#capacity = { runs: options.maxBatch === 1 ? runs * RUNS_AHEAD : runs, spreads };
  }

  /** Instances that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Instances that the engine has. */
  get running(): number {
    return this.#running;
  }

  /** Milliseconds that the request has waited that has waited longest; 0 where none does. */
  oldestMs(): number {
    const first = this.#oldest()?.waiting[0];
    return first ? this.#now() - first.since : 0;
  }

  /**
   * Rows of the request; `queueMs` is all of its waiting, `computeMs` the time of the batch it ran in.
   * @throws ServiceError deadline_exceeded, client_closed_request, where patience ends before the engine has it
   */
  run(variant: Variant, request: BatchedRequest): Promise<BatchedResult> {
    const { input, batch, company = Infinity, patience } = request;
    if (patience?.ended) return Promise.reject(patience.ended);
    const room = this.#runs === 0 || (this.#options.waitMs === 0 && this.#runs < this.#capacity.runs);
    if (this.#waiting === 0 && room) return this.#runAlone(variant, input, batch);
    return new Promise((resolve, reject) => {
      const entry: Waiting = { input, batch, company, since: this.#now(), resolve, reject };
      const queue = this.#queueOf(variant);
      queue.waiting.push(entry);
      queue.instances += batch;
      this.#waiting += batch;
      if (patience) {
        const remove = patience.onEnd((reason) => this.#leave(queue, entry, reason));
        entry.resolve = (result) => {
          remove();
          resolve(result);
        };
      }
      // An armed timer is for one that came before; only a full batch goes sooner.
      if (!this.#timer || queue.instances >= this.#options.maxBatch) this.#pump();
    });
  }

  async #runAlone(variant: Variant, input: Float32Array, batch: number): Promise<BatchedResult> {
    const { engine, onBatch } = this.#options;
    this.#runs++;
    this.#running += batch;
    try {
      const { logits, queueMs, computeMs } = await engine.run(variant, input, batch);
      onBatch?.({ variant, requests: 1, instances: batch, computeMs, waitedMs: 0 });
      return { logits, queueMs, computeMs, together: batch };
    } finally {
      this.#runs--;
      this.#running -= batch;
      this.#pump();
    }
  }

  /** Gives the engine what it has room for. */
  #pump(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#runs < this.#capacity.runs) {
      const queue = this.#oldest((each) => this.#gathersMs(each) <= 0);
      if (!queue) break;
      void this.#dispatch(queue);
    }
    if (this.#runs >= this.#capacity.runs) return; // the end of a run is the next to look
    const next = this.#oldest();
    if (next) this.#timer = setTimeout(() => this.#pump(), this.#gathersMs(next));
  }

  /** Milliseconds for which the queue may gather yet. */
  #gathersMs({ instances, waiting }: Queue): number {
    const { maxBatch, waitMs } = this.#options;
    if (this.#runs === 0 || instances >= maxBatch) return 0;
    return waitMs - (this.#now() - waiting[0].since);
  }

  async #dispatch(queue: Queue): Promise<void> {
    const { engine, maxBatch, onBatch } = this.#options;
    const { variant } = queue;
    const taken = queue.waiting.splice(0, countTogether(queue.waiting, this.#share(queue, maxBatch)));
    if (queue.waiting.length === 0) this.#queues.delete(variant);
    const { input, batch } = mergeInputs(taken);
    queue.instances -= batch;
    this.#waiting -= batch;
    this.#runs++;
    this.#running += batch;
    const began = this.#now();
    try {
      const { logits, queueMs, computeMs } = await engine.run(variant, input, batch);
      const rows = splitLogits(
        logits,
        taken.map((entry) => entry.batch),
      );
      const [{ since }] = taken;
      onBatch?.({ variant, requests: taken.length, instances: batch, computeMs, waitedMs: began - since + queueMs });
      taken.forEach((entry, i) => {
        entry.resolve({ logits: rows[i], queueMs: began - entry.since + queueMs, computeMs, together: batch });
      });
    } catch (error) {
      for (const entry of taken) entry.reject(error as Error);
    } finally {
      this.#runs--;
      this.#running -= batch;
      this.#pump();
    }
  }

  /** Instances for one run: where a run keeps one thread, no more than this one's share of what there is to do. */
  #share(queue: Queue, maxBatch: number): number {
    const { runs, spreads } = this.#capacity;
    return spreads ? maxBatch : Math.min(maxBatch, Math.ceil((queue.instances + this.#running) / runs));
  }

  #oldest(among: (queue: Queue) => boolean = () => true): Queue | undefined {
    let oldest: Queue | undefined;
    for (const queue of this.#queues.values()) {
      if (!among(queue)) continue;
      if (!oldest || queue.waiting[0].since < oldest.waiting[0].since) oldest = queue;
    }
    return oldest;
  }

  #queueOf(variant: Variant): Queue {
    let queue = this.#queues.get(variant);
    if (!queue) {
      queue = { variant, waiting: [], instances: 0 };
      this.#queues.set(variant, queue);
    }
    return queue;
  }

  /** Out of the queue, if it is still there. */
  #leave(queue: Queue, entry: Waiting, reason: Error): void {
    const at = queue.waiting.indexOf(entry);
    if (at < 0) return;
    queue.waiting.splice(at, 1);
    queue.instances -= entry.batch;
    this.#waiting -= entry.batch;
    if (queue.waiting.length === 0 && this.#queues.get(queue.variant) === queue) this.#queues.delete(queue.variant);
    entry.reject(reason);
  }
}
