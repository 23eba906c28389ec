import type { Place } from './admission.js';
import type { Patience } from './patience.js';
import type { StepObserver } from './steps.js';

/** A request that is being served. */
export interface Visit {
  place: Place;
  patience: Patience | null;
  /** When it came, of `performance.now()`. */
  start: number;
  /** Told of its steps. */
  steps: StepObserver | undefined;
}
