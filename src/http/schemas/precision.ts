/** What a request says of precision, the same words in every protocol: in a query, a body or a list of parameters. */
import Type, { type Static } from 'typebox';
import { Bits, strictObject } from './common.js';

const budget = (description: string) => Type.Optional(Type.Number({ exclusiveMinimum: 0, description, examples: [2] }));

export const precisionFields = {
  bits: Type.Optional(Bits('Weight bits, and activation bits unless those are given; not together with a budget')),
  activation_bits: Type.Optional(Bits('Activation bits where they differ from the weight bits')),
  max_energy_uj: budget('Budget: microjoules for the whole request, by the energy table'),
  max_memory_kib: budget('Budget: KiB that the variant takes'),
  max_latency_ms: budget('Budget: milliseconds of compute for the whole request, as measured on this machine'),
  min_accuracy: Type.Optional(
    Type.Number({ minimum: 0, maximum: 1, description: 'Budget: held-out accuracy to reach', examples: [0.98] }),
  ),
};

export const PrecisionQuery = strictObject(precisionFields);
export type PrecisionQuery = Static<typeof PrecisionQuery>;

/** How long the answer is waited for. */
export const deadlineField = {
  timeout_ms: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      description:
        'Milliseconds, from when the body is there, within which the answer is worth having; past it the answer is 504 and ' +
        'what has not begun is not computed',
      examples: [250],
    }),
  ),
};
