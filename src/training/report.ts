import type { Skipped } from './datasets/dataset.js';
import type { FitProgress } from './fit.js';
import { MovingRate } from './moving-rate.js';
import { NO_PROGRESS, type TrainingHooks, type TrainingProgress } from './request.js';

/** Shares of the whole that the phases take. */
const FITTED = 0.85;
const CALIBRATED = 0.87;
const INTERVAL_MS = 250;

/** Turns what the phases say into one running progress, told a few times a second at most. */
export class ProgressReport {
  readonly #hooks: Pick<TrainingHooks, 'onProgress'>;
  readonly #now: () => number;
  #files: MovingRate | null = null;
  #steps: MovingRate | null = null;
  #evaluation: MovingRate | null = null;
  #told = Number.NEGATIVE_INFINITY;
  #last: TrainingProgress;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(hooks: Pick<TrainingHooks, 'onProgress'>, epochs: number, now = () => performance.now()) {
    this.#hooks = hooks;
    this.#now = now;
    this.#last = { phase: 'training', epochs, ...NO_PROGRESS };
  }

  /** The newest, told or not. */
  get last(): TrainingProgress {
    return this.#last;
  }

  /** @param done files that were looked at */
  preparing(done: number, total: number): void {
    this.#files ??= new MovingRate(total);
    const rate = this.#files.at(done, this.#now());
    const told = { ...this.#last, phase: 'preparing' as const, step: done, steps: total };
    // Training comes after it, of which nothing is known.
    this.#tell(told, rate && (total - done) / rate, done === total);
  }

  /** The data is there. */
  prepared(skipped: Skipped | null): void {
    this.#last = { ...this.#last, phase: 'training', step: 0, steps: 0, eta_s: null };
    if (skipped !== null) this.#tell({ ...this.#last, skipped }, null, true);
  }

  step({ epoch, step, steps, loss, normWeights, normActivations, accuracy }: FitProgress): void {
    // An epoch back, so that just one pause between epochs is in it.
    this.#steps ??= new MovingRate(steps / this.#last.epochs);
    const rate = this.#steps.at(step, this.#now());
    // What comes after the steps is a share of all of them, also those of earlier attempts.
    const left = steps - step + (steps * (1 - FITTED)) / FITTED;
    const numbers = { loss, norm_weights: normWeights, norm_activations: normActivations, accuracy };
    const progress = (FITTED * step) / steps;
    this.#tell({ ...this.#last, progress, epoch, step, steps, ...numbers }, rate && left / rate, step === steps);
  }

  /** A phase that says no more until the next one: about as long to go as there was. */
  phase(phase: TrainingProgress['phase']): void {
    this.#tell({ ...this.#last, phase, progress: FITTED }, this.#last.eta_s, true);
  }

  /** @param done share of the evaluation, 0..1 */
  evaluated(done: number): void {
    this.#evaluation ??= new MovingRate(1);
    const rate = this.#evaluation.at(done, this.#now());
    const progress = CALIBRATED + (1 - CALIBRATED) * done;
    const eta = rate === null ? this.#last.eta_s : (1 - done) / rate;
    this.#tell({ ...this.#last, phase: 'evaluating', progress }, eta, done === 1);
  }

  #tell(progress: TrainingProgress, eta: number | null, always: boolean): void {
    const now = this.#now();
    const changed = progress.phase !== this.#last.phase;
    this.#last = { ...progress, eta_s: eta === null ? null : Math.round(eta * 10) / 10 };
    if (!always && !changed && now - this.#told < INTERVAL_MS) return;
    this.#told = now;
    this.#hooks.onProgress(this.#last);
  }
}
