import type { TrainingHooks, TrainingProgress } from '../training/request.js';

/** A line each few seconds, and at the end of each epoch and phase. */
export class ProgressLines implements TrainingHooks {
  #told = 0;
  #epoch = -1;
  #phase = '';

  isCancelled(): boolean {
    return false;
  }

  onBackend(name: string): void {
    console.log(`backend: ${name}`);
  }

  onNotice(_level: string, text: string): void {
    console.log(text);
  }

  onProgress({ phase, epoch, epochs, step, steps, progress, eta_s, ...numbers }: TrainingProgress): void {
    const now = performance.now();
    if (now - this.#told < 5000 && epoch === this.#epoch && phase === this.#phase) return;
    this.#told = now;
    this.#epoch = epoch;
    this.#phase = phase;
    const words = [phase.padEnd(11), `${(100 * progress).toFixed(1)} %`.padStart(7)];
    if (phase === 'preparing') words.push(`file ${step}/${steps}`);
    if (phase === 'training') {
      const { loss, accuracy, norm_weights, norm_activations } = numbers;
      words.push(`epoch ${epoch + 1}/${epochs}`, `step ${step}/${steps}`, `loss ${loss?.toFixed(4)}`);
      if (norm_weights !== null) words.push(`‖g_w‖ ${norm_weights.toPrecision(3)}`);
      if (norm_activations !== null) words.push(`‖g_y‖ ${norm_activations.toPrecision(3)}`);
      if (accuracy !== null) words.push(`validation ${(100 * accuracy).toFixed(2)} %`);
    }
    if (eta_s !== null) words.push(`${Math.round(eta_s)} s left`);
    console.log(words.join('  '));
  }
}
