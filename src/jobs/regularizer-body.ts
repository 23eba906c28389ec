import {
  kindsOf,
  NO_REGULARIZER,
  REGULARIZER_KINDS,
  type RegularizerKind,
  type RegularizerSettings,
} from '../training/request.js';
import type { Body } from './body.js';

/** What a request without the field gets. */
export const REGULARIZER_DEFAULTS = {
  ...NO_REGULARIZER,
  kind: 'gradient-l1',
  lambda_weights: 1e-3,
  lambda_activations: 3e-3,
} as const;

/** What the other kinds have where nothing is said. */
export const KIND_DEFAULTS = {
  sam_radius: 0.5,
  sam_bits: 4,
  lambda_kurtosis: 1,
  widths: [2, 3, 4, 5, 6, 8, 32],
  qat_bits: 4,
} as const;

const FIELDS = Object.keys(NO_REGULARIZER) as (keyof RegularizerSettings)[];
/** Above it the penalty would be all that is learnt. */
const LARGEST_RATIO = 100;
const DRAWN = [2, 3, 4, 5, 6, 7, 8, 32];

/**
 * The `regularizer` of a training request with every default filled in. A setting of a kind that is not asked for is a
 * mistake of the caller's, so it is refused, not ignored; its neutral value is taken, so a filled-in request can be sent again.
 * @throws ServiceError `invalid_field`, `unknown_field`
 */
export function parseRegularizer(fields: Body, epochs: number): RegularizerSettings {
  const inner = fields.inner('regularizer', FIELDS);
  const kind = kindOf(inner);
  const kinds = kindsOf({ kind });
  const l1 = kinds.includes('gradient-l1');
  const form = inner.choice<RegularizerSettings['form']>('form', 'finite-difference', ['finite-difference', 'sam']);
  if (form === 'sam' && !l1) throw inner.error('form', 'finite-difference, as sam is a form of gradient-l1');
  const difference = l1 && form === 'finite-difference';
  const sam = l1 && form === 'sam';
  const number = (name: keyof RegularizerSettings, wanted: boolean, fallback: number, largest: number) =>
    wanted ? inner.number(name, fallback, 0, largest) : inner.number(name, 0, 0, 0);
  const bits = (name: 'qat_bits' | 'sam_bits', wanted: boolean, fallback: number) =>
    wanted ? inner.integer(name, fallback, 2, 8) : inner.integer(name, 0, 0, 0);
  const defaults = REGULARIZER_DEFAULTS;
  const ratios = {
    ratio_weights: number('ratio_weights', difference, 0, LARGEST_RATIO),
    ratio_activations: number('ratio_activations', difference, 0, LARGEST_RATIO),
  };
  // Beside a ratio only the strengths that are asked for: a default would act on top of it.
  const byRatio = ratios.ratio_weights > 0 || ratios.ratio_activations > 0;
  const lambda = (of: 'weights' | 'activations') => {
    const value = number(`lambda_${of}`, difference, byRatio ? 0 : defaults[`lambda_${of}`], 1000);
    if (ratios[`ratio_${of}`] === 0 || value === 0) return value;
    throw inner.error(`ratio_${of}`, `nothing beside lambda_${of}, which it sets`);
  };
  return {
    kind,
    lambda_weights: lambda('weights'),
    lambda_activations: lambda('activations'),
    ...ratios,
    form,
    sam_radius: number('sam_radius', sam, KIND_DEFAULTS.sam_radius, 10),
    sam_bits: bits('sam_bits', sam, KIND_DEFAULTS.sam_bits),
    lambda_kurtosis: number('lambda_kurtosis', kinds.includes('kurtosis'), KIND_DEFAULTS.lambda_kurtosis, 1000),
    widths: widthsOf(inner, kinds.includes('any-width')),
    qat_bits: bits('qat_bits', kinds.includes('qat'), KIND_DEFAULTS.qat_bits),
    start_epoch: inner.integer('start_epoch', defaults.start_epoch, 0, epochs),
  };
}

function kindOf(inner: Body): RegularizerSettings['kind'] {
  const known = (value: unknown): value is RegularizerKind => REGULARIZER_KINDS.includes(value as RegularizerKind);
  const check = (value: unknown): value is RegularizerSettings['kind'] => {
    if (!Array.isArray(value)) return value === 'none' || known(value);
    const clash = value.includes('any-width') && value.includes('qat');
    return value.length > 0 && value.every(known) && new Set(value).size === value.length && !clash;
  };
  const names = REGULARIZER_KINDS.join(', ');
  return inner.optional<RegularizerSettings['kind']>(
    'kind',
    REGULARIZER_DEFAULTS.kind,
    check,
    `none, one of ${names}, or a list of those that differ, without qat beside any-width`,
  );
}

function widthsOf(inner: Body, wanted: boolean): number[] {
  const check = (value: unknown): value is number[] =>
    Array.isArray(value) &&
    (wanted ? value.length > 0 : value.length === 0) &&
    value.every((width) => DRAWN.includes(width)) &&
    new Set(value).size === value.length;
  const rule = wanted ? `a list of widths that differ, of ${DRAWN.join(', ')}` : 'no widths without kind any-width';
  return [...inner.optional('widths', wanted ? [...KIND_DEFAULTS.widths] : [], check, rule)];
}
