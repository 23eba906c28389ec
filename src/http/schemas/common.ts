import Type, { type Static, type TSchema } from 'typebox';
import { LABEL_NAME } from '../../model/labels.js';
import { MODEL_NAME } from '../../model/manifest-check.js';
import { WIDTHS, type Width } from '../../quantize/precision.js';

/** An object that refuses fields it does not list. */
export function strictObject<T extends Record<string, TSchema>>(properties: T, options: Record<string, unknown> = {}) {
  return Type.Object(properties, { ...options, additionalProperties: false as const });
}

export function nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

export const Bits = (description: string) =>
  Type.Unsafe<Width>({ type: 'integer', enum: [...WIDTHS], description, examples: [4] });

const modelName = {
  pattern: MODEL_NAME.source,
  'x-expected': 'a model name: 1 to 64 of a-z 0-9 . _ -',
  examples: ['mnist-lenet'],
};
export const ModelName = (description: string) => Type.String({ ...modelName, description });

export const VersionNumber = (description: string) => Type.Integer({ minimum: 1, description, examples: [1] });

export const Label = (description: string) =>
  Type.String({
    pattern: LABEL_NAME.source,
    'x-expected': 'a label: 1 to 64 of a-z 0-9 . _ -',
    description,
    examples: ['canary'],
  });

export const ModelParams = strictObject({ model: ModelName('Name of the model') });
export type ModelParams = Static<typeof ModelParams>;

/** For routes that take no query: a stray parameter is refused, as everywhere. */
export const NoQuery = strictObject({});

/** Whatever a manifest or a problem carries beyond what is named. */
export const AnyObject = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description });
