import type { Step } from './step.js';

/** Means over the steps of an epoch so far. */
export class Means {
  #steps = 0;
  #loss = 0;
  /** Sums over the steps whose norms were measured. */
  readonly #measured = { steps: 0, normWeights: 0, normActivations: 0 };
  /** Sums over those of them that had strengths λ; `weights` and `activations` are of λ·‖g‖₁. */
  readonly #penalty = { steps: 0, loss: 0, lambdaWeights: 0, lambdaActivations: 0, weights: 0, activations: 0 };
  #kurtosis: number | null = null;

  add({ loss, normWeights, normActivations, strength, kurtosis }: Step): void {
    this.#steps++;
    this.#loss += loss;
    if (kurtosis === null || Number.isFinite(kurtosis)) this.#kurtosis = kurtosis;
    if (normWeights === null || normActivations === null) return;
    // A sum that overflowed says nothing, and no checkpoint, being JSON, could hold it.
    if (!Number.isFinite(normWeights) || !Number.isFinite(normActivations)) return;
    const measured = this.#measured;
    measured.steps++;
    measured.normWeights += normWeights;
    measured.normActivations += normActivations;
    if (strength === undefined) return;
    const penalty = this.#penalty;
    penalty.steps++;
    penalty.loss += loss;
    penalty.lambdaWeights += strength.lambdaWeights;
    penalty.lambdaActivations += strength.lambdaActivations;
    penalty.weights += strength.lambdaWeights * normWeights;
    penalty.activations += strength.lambdaActivations * normActivations;
  }

  get loss(): number {
    return this.#loss / this.#steps;
  }

  get normWeights(): number | null {
    return this.#measured.steps > 0 ? this.#measured.normWeights / this.#measured.steps : null;
  }

  get normActivations(): number | null {
    return this.#measured.steps > 0 ? this.#measured.normActivations / this.#measured.steps : null;
  }

  /** For the history; what no step measured is absent. A ratio is λ‖g‖₁/CE over the steps that had a λ. */
  values(): Record<string, number> {
    const values: Record<string, number> = { loss: this.loss };
    if (this.normWeights !== null) values.norm_weights = this.normWeights;
    if (this.normActivations !== null) values.norm_activations = this.normActivations;
    const { steps, loss, lambdaWeights, lambdaActivations, weights, activations } = this.#penalty;
    if (steps > 0) {
      values.lambda_weights = lambdaWeights / steps;
      values.lambda_activations = lambdaActivations / steps;
    }
    if (loss > 0) {
      values.ratio_weights = weights / loss;
      values.ratio_activations = activations / loss;
    }
    // Of the last step: it moves slowly.
    if (this.#kurtosis !== null) values.kurtosis = this.#kurtosis;
    return values;
  }
}
