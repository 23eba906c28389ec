/** Turns schemas into validators whose errors name the field, what was expected and what came. */
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
// the checker alone: `typebox/compile` would load the type engine too, a tenth of a second of every start
import { Compile } from 'typebox/schema';
import { ServiceError } from '../../errors.js';
import type { App } from '../types.js';

/** The parts of JSON Schema that the project's schemas use. */
interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  items?: Schema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  /** Own wording of what is expected. */
  'x-expected'?: string;
}

interface Fault {
  keyword: string;
  instancePath: string;
  params: { additionalProperties?: string[]; requiredProperties?: string[] };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
/** In a path, where a number is a name: `1.0` and `+1` are not the name of version 1. */
const DIGITS = /^\d+$/;
const PLACES: Record<string, string> = { querystring: 'query', params: 'path', body: 'body', headers: 'header' };

/**
 * Fastify's validator compiler. Query and path parameters are coerced from text to numbers where their schema is a
 * number; bodies are taken as they came. Throws nothing: gives a ServiceError unknown_field, missing_field, invalid_field.
 */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const place = PLACES[httpPart ?? 'body'];
  const shape = schema as Schema;
  if (isBinary(shape)) return () => true;
  const check = Compile(schema);
  return (data: unknown) => {
    const value =
      place === 'query' || place === 'path' ? coerce(shape, data, place === 'path' ? DIGITS : NUMBER) : data;
    if (check.Check(value)) return place === 'header' ? true : { value };
    const [, faults] = check.Errors(value);
    return { error: toServiceError(faults as unknown as Fault[], shape, value, place) };
  };
};

/** For a route whose body is checked by the core, which knows more of it; its schema documents it. */
export const bodyCheckedByCore: FastifySchemaCompiler<TSchema> = (route) =>
  route.httpPart === 'body' ? () => true : validatorCompiler(route);

/** A value as a compiled check leaves it. @throws the check's ServiceError */
export function checked<T>(check: (data: unknown) => unknown, data: unknown): T {
  const answer = check(data) as { value: T } | { error: Error };
  if ('error' in answer) throw answer.error;
  return answer.value;
}

/** Refuses a wrong query before the body is read; after the token check of a scope. */
export function queryBeforeBody(app: App): void {
  app.addHook('preParsing', async (request) => {
    const validate = request.getValidationFunction('querystring') as unknown as Validate | undefined;
    const fault = validate?.(request.query)?.error;
    if (fault) throw fault;
  });
}

type Validate = (data: unknown) => { error?: Error };

/** What a schema asks for, in words. */
export function describe(schema: Schema): string {
  if (schema['x-expected']) return schema['x-expected'];
  if (schema.anyOf) return schema.anyOf.map(describe).join(' or ');
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) {
    if (schema.enum.length === 1) return JSON.stringify(schema.enum[0]);
    return `one of ${schema.enum.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join(', ')}`;
  }
  if (schema.type === 'integer' || schema.type === 'number') {
    return (schema.type === 'integer' ? 'a whole number' : 'a finite number') + range(schema);
  }
  if (schema.type === 'string') return `a string${size(schema.minLength, schema.maxLength, 'characters')}`;
  if (schema.type === 'array') return `an array${size(schema.minItems, schema.maxItems, 'elements')}`;
  if (schema.type === 'object') return 'an object';
  if (schema.type === 'boolean') return 'true or false';
  return schema.type ?? 'any value';
}

/** A value as an error message shows it: short, and never a whole body. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function isBinary(schema: Schema & { format?: string }): boolean {
  return schema.type === 'string' && schema.format === 'binary';
}

/** Numbers from text; anything else stays as it is, so that the validator says what came. */
function coerce(schema: Schema, data: unknown, form: RegExp): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(data ?? {})) {
    const type = Object.hasOwn(schema.properties ?? {}, name) ? schema.properties?.[name]?.type : undefined;
    const numeric = (type === 'integer' || type === 'number') && typeof value === 'string' && form.test(value);
    // defineProperty, because a query may well be called __proto__
    const own = { value: numeric ? finite(value) : value, enumerable: true, writable: true, configurable: true };
    Object.defineProperty(out, name, own);
  }
  return out;
}

/** 1e999 is a number to JSON Schema once it is Infinity; as text it is refused. */
function finite(text: string): number | string {
  const number = Number(text);
  return Number.isFinite(number) ? number : text;
}

function toServiceError(faults: Fault[], schema: Schema, value: unknown, place: string): ServiceError {
  // where so many fields are unknown that no more faults are listed, each has one of its own: its value is not to be there
  const unknown = faults.find((f) => f.params.additionalProperties) ?? faults.find((f) => f.keyword === 'boolean');
  if (unknown) return unknownField(unknown, schema, value, place);
  const missing = faults.find((f) => f.params.requiredProperties);
  if (missing) {
    const name = join(missing.instancePath, missing.params.requiredProperties?.[0] ?? '');
    const expected = describe(find(schema, value, name).schema);
    const detail = `${place}: expected the field ${name} (${expected}), got nothing`;
    return new ServiceError('missing_field', detail, { field: name, expected, actual: 'nothing' });
  }
  const name = fieldName(faults[0]?.instancePath ?? '');
  const found = find(schema, value, name);
  const several = place === 'query' && Array.isArray(found.value);
  const expected = several ? `one value, ${describe(found.schema)}` : describe(found.schema);
  const actual = several ? `${(found.value as unknown[]).length} values: ${list(found.value)}` : show(found.value);
  const field = found.name || place;
  return new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
    field,
    expected,
    actual,
  });
}

function unknownField(fault: Fault, schema: Schema, value: unknown, place: string): ServiceError {
  const [extra] = fault.params.additionalProperties ?? [];
  const name = extra === undefined ? fieldName(fault.instancePath) : join(fault.instancePath, extra);
  const parent = extra === undefined ? fault.instancePath.replace(/\/[^/]*$/, '') : fault.instancePath;
  const known = Object.keys(find(schema, value, fieldName(parent)).schema.properties ?? {});
  const expected = known.length > 0 ? `only ${known.join(', ')}` : 'no field';
  const actual = show(name);
  return new ServiceError('unknown_field', `${place}: expected ${expected}, got ${actual}`, {
    field: name.slice(0, 100),
    expected,
    actual,
  });
}

/** The schema and the value at a field's path; stops at a union, whose description says all of it. */
function find(schema: Schema, value: unknown, path: string): { schema: Schema; value: unknown; name: string } {
  const walked: string[] = [];
  for (const key of path === '' ? [] : path.split('.')) {
    const next = Object.hasOwn(schema.properties ?? {}, key) ? schema.properties?.[key] : schema.items;
    if (!next || schema.anyOf) break;
    schema = next;
    value = (value as Record<string, unknown> | null | undefined)?.[key];
    walked.push(key);
  }
  return { schema, value, name: walked.join('.') };
}

/** `/regularizer/kind` → `regularizer.kind`. */
function fieldName(instancePath: string): string {
  const keys = instancePath.split('/').slice(1);
  return keys.map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~')).join('.');
}

function join(instancePath: string, name: string): string {
  const parent = fieldName(instancePath);
  return parent === '' ? name : `${parent}.${name}`;
}

function range({ minimum, maximum, exclusiveMinimum }: Schema): string {
  if (minimum !== undefined && maximum !== undefined) return ` from ${minimum} to ${maximum}`;
  const parts: string[] = [];
  if (exclusiveMinimum !== undefined) parts.push(`above ${exclusiveMinimum}`);
  if (minimum !== undefined) parts.push(`of at least ${minimum}`);
  if (maximum !== undefined) parts.push(`of at most ${maximum}`);
  return parts.length > 0 ? ` ${parts.join(' and ')}` : '';
}

function size(min: number | undefined, max: number | undefined, unit: string): string {
  if (min === undefined && max === undefined) return '';
  if (min === undefined) return ` of at most ${max} ${unit}`;
  return max === undefined ? ` of at least ${min} ${unit}` : ` of ${min} to ${max} ${unit}`;
}

function list(values: unknown): string {
  return (values as unknown[]).slice(0, 4).map(show).join(', ');
}
