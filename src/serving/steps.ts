/** What is known of a request by now, by name; undefined is left out. */
export type StepFacts = Record<string, string | number | boolean | undefined>;

/** Told of each step of one request as it ends; a tracer hangs here, so that serving knows none. */
export interface StepObserver {
  /** @param startMs and endMs are of `performance.now()` */
  onStep(name: string, startMs: number, endMs: number, facts: StepFacts, error?: unknown): void;
}

/**
 * Does the work and tells how long it took; without an observer it only does the work.
 * @param isOne whether there was such a step after all, by its result
 */
export function timed<T>(
  observer: StepObserver | undefined,
  name: string,
  work: () => Promise<T>,
  facts: StepFacts,
  isOne: (result: T) => boolean = () => true,
): Promise<T> {
  if (!observer) return work();
  return observed(observer, name, work, facts, (result, start) => {
    if (isOne(result)) observer.onStep(name, start, performance.now(), facts);
  });
}

/** The same for a run of the engine, which says itself how long it waited and computed, and how much ran together. */
export function timedRun<T extends { queueMs: number; computeMs: number; together: number }>(
  observer: StepObserver | undefined,
  work: () => Promise<T>,
  facts: StepFacts,
): Promise<T> {
  if (!observer) return work();
  return observed(observer, 'compute', work, facts, ({ queueMs, computeMs, together }, start) => {
    const begun = start + queueMs;
    observer.onStep('queue', start, begun, facts);
    observer.onStep('compute', begun, begun + computeMs, { ...facts, runInstances: together });
  });
}

async function observed<T>(
  observer: StepObserver,
  name: string,
  work: () => Promise<T>,
  facts: StepFacts,
  tell: (result: T, startMs: number) => void,
): Promise<T> {
  const start = performance.now();
  try {
    const result = await work();
    tell(result, start);
    return result;
  } catch (error) {
    observer.onStep(name, start, performance.now(), facts, error);
    throw error;
  }
}
