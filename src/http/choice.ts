import { ServiceError } from '../errors.js';
import type { PrecisionChoice } from '../serving/request.js';
import type { PrecisionQuery } from './schemas/precision.js';

const BITS = ['bits', 'activation_bits'] as const;
const BUDGETS = ['max_energy_uj', 'max_memory_kib', 'max_latency_ms', 'min_accuracy'] as const;

/** @param place where they were said, in an error's words @throws ServiceError bits_and_budget */
export function readChoice(fields: PrecisionQuery, place: string): PrecisionChoice {
  const budgets = BUDGETS.filter((name) => fields[name] !== undefined);
  const named = BITS.filter((name) => fields[name] !== undefined);
  if (named.length > 0 && budgets.length > 0) {
    const [expected, actual] = ['bits or a budget', [...named, ...budgets].join(' and ')];
    throw new ServiceError('bits_and_budget', `${place}: expected ${expected}, got ${actual}`, { expected, actual });
  }
  const budget = {
    maxEnergyUj: fields.max_energy_uj,
    maxMemoryKib: fields.max_memory_kib,
    maxLatencyMs: fields.max_latency_ms,
    minAccuracy: fields.min_accuracy,
  };
  const { bits, activation_bits: activationBits } = fields;
  return { bits, activationBits, budget: budgets.length > 0 ? budget : undefined };
}

/**
 * What a request may say in its query or elsewhere, but not in both.
 * @param place the other one, in an error's words
 * @throws ServiceError invalid_field
 */
export function saidOnce<Q extends object, F extends object>(query: Q, fields: F, place: string): Q & F {
  const twice = Object.keys(query).find((name) => Object.hasOwn(fields, name));
  if (twice === undefined) return { ...fields, ...query };
  const [expected, actual] = [`it in the query or in the ${place}`, 'both'];
  const extra = { field: twice, expected, actual };
  throw new ServiceError('invalid_field', `${twice}: expected ${expected}, got ${actual}`, extra);
}
