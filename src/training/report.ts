import type { FitProgress } from './fit.js';
import type { TrainingHooks, TrainingProgress } from './request.js';

/** Shares of the whole that the phases take. */
const FITTED = 0.85;
const CALIBRATED = 0.87;
const INTERVAL_MS = 250;

/** Turns what the phases say into one running progress, told a few times a second at most. */
export class ProgressReport {
  readonly #hooks: Pick<TrainingHooks, 'onProgress'>;
  readonly #began = performance.now();
  #told = Number.NEGATIVE_INFINITY;
  #last: TrainingProgress;

  constructor(hooks: Pick<TrainingHooks, 'onProgress'>, epochs: number) {
    this.#hooks = hooks;
    const nothing = { loss: null, accuracy: null, eta_s: null };
    this.#last = { phase: 'training', progress: 0, epoch: 0, epochs, step: 0, steps: 0, ...nothing };
  }

  step({ epoch, step, steps, loss, accuracy }: FitProgress): void {
    const progress = (FITTED * step) / steps;
    this.#tell({ ...this.#last, progress, epoch, step, steps, loss, accuracy }, step === steps);
  }

  phase(phase: TrainingProgress['phase']): void {
    this.#tell({ ...this.#last, phase, progress: FITTED }, true);
  }

  /** @param done share of the evaluation, 0..1 */
  evaluated(done: number): void {
    const progress = CALIBRATED + (1 - CALIBRATED) * done;
    this.#tell({ ...this.#last, phase: 'evaluating', progress }, done === 1);
  }

  #tell(progress: TrainingProgress, always: boolean): void {
    const now = performance.now();
    const elapsed = (now - this.#began) / 1000;
    const eta = progress.progress > 0 ? (elapsed * (1 - progress.progress)) / progress.progress : null;
    const changed = progress.phase !== this.#last.phase;
    this.#last = { ...progress, eta_s: eta === null ? null : Math.round(eta * 10) / 10 };
    if (!always && !changed && now - this.#told < INTERVAL_MS) return;
    this.#told = now;
    this.#hooks.onProgress(this.#last);
  }
}
