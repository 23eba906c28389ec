/** The answer of `POST /predict`: an inference as ranked labels. */
import { ServiceError } from '../errors.js';
import type { Degradation, Inference, PredictAnswer } from './request.js';
import { rankLabels } from './softmax.js';

const DEFAULT_TOP_K = 5;

/** @throws ServiceError invalid_field */
export function readTopK(topK: number | undefined): number {
  if (topK === undefined) return DEFAULT_TOP_K;
  if (Number.isInteger(topK) && topK >= 1) return topK;
  const actual = String(topK);
  const extra = { field: 'top_k', expected: 'a whole number, 1 or more', actual };
  throw new ServiceError('invalid_field', `top_k: expected ${extra.expected}, got ${actual}`, extra);
}

export function predictAnswer(inference: Inference, topK: number): PredictAnswer {
  const { version, precision, batch, logits, cost, variant, timing, degraded } = inference;
  const { labels } = version.manifest;
  const predictions = Array.from({ length: batch }, (_, i) => {
    const top = rankLabels(logits, i * labels.length, labels, topK);
    const { label, index, probability } = top[0];
    return { label, index, probability, top };
  });
  return {
    model: version.model,
    version: version.version,
    digest: version.digest,
    bits: precision.weightBits,
    activation_bits: precision.activationBits,
    predictions,
    cost: { energy_uj: cost.energyUj, memory_bytes: cost.memoryBytes, expected_accuracy: cost.expectedAccuracy },
    variant: { cached: variant.cached, build_ms: milliseconds(variant.buildMs), engine: variant.engine },
    timing_ms: { queue: milliseconds(timing.queueMs), compute: milliseconds(timing.computeMs) },
    ...(degraded && { degraded: wording(degraded) }),
  };
}

function wording({ from, reason }: Degradation): NonNullable<PredictAnswer['degraded']> {
  return { from: { bits: from.weightBits, activation_bits: from.activationBits }, reason };
}

/** To the microsecond. */
export function milliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
