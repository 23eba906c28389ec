/**
 * The strengths λ of the gradient l1 regulariser: given, or such that λ·‖g‖₁/CE is a given ratio. A ratio says the same for
 * any net and data, where a λ has to be found anew.
 */
import type { Measured, Strength } from './regularizer.js';
import type { RegularizerSettings } from './request.js';
import type { State, Stateful } from './state.js';

/** Steps that the running means reach back over. */
const WINDOW = 100;

/**
 * For a ratio, λ = ratio · m(CE)/m(‖g‖₁) at every step, with m the running mean over the steps at which the norms were
 * measured, this one included: m ← m + (x − m)/min(t, 100) at the t-th of them. So the first λ is that of the first batch,
 * up to 100 steps weigh the same, and later ones fade out over about 100. The gradient takes λ for a constant.
 */
export class StrengthRule implements Stateful {
  readonly #settings: RegularizerSettings;
  #steps = 0;
  readonly #means: Measured = { loss: 0, normWeights: 0, normActivations: 0 };

  constructor(settings: RegularizerSettings) {
    this.#settings = settings;
  }

  /** Whether both strengths are 0 at every step. */
  get isOff(): boolean {
    const { lambda_weights, lambda_activations, ratio_weights, ratio_activations } = this.#settings;
    return lambda_weights + lambda_activations + ratio_weights + ratio_activations === 0;
  }

  /** @param measured of the step's batch, at the step's weights */
  at(measured: Measured): Strength {
    const { lambda_weights, lambda_activations, ratio_weights, ratio_activations } = this.#settings;
    this.#add(measured);
    const { loss, normWeights, normActivations } = this.#means;
    return {
      lambdaWeights: ratio_weights > 0 ? lambdaOf(ratio_weights, loss, normWeights) : lambda_weights,
      lambdaActivations:
        ratio_activations > 0 ? lambdaOf(ratio_activations, loss, normActivations) : lambda_activations,
    };
  }

  state(): State {
    return { numbers: { steps: this.#steps, ...this.#means }, tensors: {} };
  }

  restore({ numbers: { steps, loss, normWeights, normActivations } }: State): void {
    this.#steps = steps;
    Object.assign(this.#means, { loss, normWeights, normActivations });
  }

  /** A batch whose numbers overflow has no part in the means. */
  #add(measured: Measured): void {
    const names = ['loss', 'normWeights', 'normActivations'] as const;
    if (!names.every((name) => Number.isFinite(measured[name]))) return;
    this.#steps++;
    const share = 1 / Math.min(this.#steps, WINDOW);
    for (const name of names) this.#means[name] += (measured[name] - this.#means[name]) * share;
  }
}

/** A net whose gradients vanish has nothing to be regularised. */
function lambdaOf(ratio: number, loss: number, norm: number): number {
  return norm > 0 ? (ratio * loss) / norm : 0;
}
