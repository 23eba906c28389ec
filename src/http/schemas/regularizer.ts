/** Documents `regularizer` of `POST /admin/train`; `jobs/regularizer-body.ts` checks it. */
import Type from 'typebox';
import { KIND_DEFAULTS, REGULARIZER_DEFAULTS } from '../../jobs/regularizer-body.js';
import { REGULARIZER_KINDS } from '../../training/request.js';
import { strictObject } from './common.js';

const optional = Type.Optional;
const defaults = REGULARIZER_DEFAULTS;

const Kind = Type.Unsafe({
  anyOf: [
    { type: 'string', enum: ['none', ...REGULARIZER_KINDS] },
    { type: 'array', items: { type: 'string', enum: [...REGULARIZER_KINDS] }, minItems: 1, uniqueItems: true },
  ],
  default: defaults.kind,
  description:
    'One, or several that act together. gradient-l1: Alizadeh et al., ICLR 2020. kurtosis: kernels towards a uniform ' +
    'distribution (KURE). any-width: each step through the net quantised to a width drawn at random. qat: each step through ' +
    'the net at one width',
});

export const Regularizer = strictObject(
  {
    kind: optional(Kind),
    lambda_weights: optional(
      Type.Number({ minimum: 0, default: defaults.lambda_weights, description: 'Of gradient-l1' }),
    ),
    lambda_activations: optional(
      Type.Number({ minimum: 0, default: defaults.lambda_activations, description: 'Of gradient-l1' }),
    ),
    ratio_weights: optional(
      Type.Number({
        minimum: 0,
        default: defaults.ratio_weights,
        description:
          'In the place of lambda_weights: sets λw at every step so that λw‖∇_w CE‖₁/CE is this, by running means over about ' +
          '100 steps; both λ are then 0 unless given',
      }),
    ),
    ratio_activations: optional(
      Type.Number({
        minimum: 0,
        default: defaults.ratio_activations,
        description: 'In the place of lambda_activations, in the same way',
      }),
    ),
    form: optional(
      Type.Unsafe({
        type: 'string',
        enum: ['finite-difference', 'sam'],
        default: defaults.form,
        description:
          'Of gradient-l1: the penalty, or the loss at the worst point of a box around weights and activations',
      }),
    ),
    sam_radius: optional(
      Type.Number({ minimum: 0, default: KIND_DEFAULTS.sam_radius, description: 'Share of half a quantisation step' }),
    ),
    sam_bits: optional(Type.Integer({ default: KIND_DEFAULTS.sam_bits, description: 'Width of that step, 2 to 8' })),
    lambda_kurtosis: optional(Type.Number({ minimum: 0, default: KIND_DEFAULTS.lambda_kurtosis })),
    widths: optional(
      Type.Array(Type.Integer(), {
        default: [...KIND_DEFAULTS.widths],
        description: 'Of any-width: weight widths 2 to 8 that steps are drawn from, and 32 for float steps',
      }),
    ),
    qat_bits: optional(Type.Integer({ default: KIND_DEFAULTS.qat_bits, description: 'Of qat: 2 to 8' })),
    start_epoch: optional(
      Type.Integer({ minimum: 0, default: defaults.start_epoch, description: 'First epoch in which it acts' }),
    ),
  },
  { description: 'Means that make weights fit for quantisation; gradient-l1: L = CE + λw·‖∇_w CE‖₁ + λy·Σ‖∇_y CE‖₁' },
);
