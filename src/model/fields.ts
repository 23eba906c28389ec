import { ServiceError } from '../errors.js';
import type { Pair } from './graph.js';

/** How an error message shows a value that came from outside: short, and safe for values of any depth. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (Array.isArray(value)) {
    const plain = value.length <= 8 && value.every((v) => v === null || typeof v === 'number');
    return plain ? `[${value.map(String).join(', ')}]` : `an array of ${value.length}`;
  }
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** A ServiceError `bad_model` that says where, what was expected and what came. */
export function badModel(where: string, expected: string, value: unknown): ServiceError {
  const got = describe(value);
  return new ServiceError('bad_model', `${where}: expected ${expected}, got ${got}`, { where, expected, actual: got });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A list as Keras writes it: an array, or {class_name: "__tuple__" | "TensorShape", items: [...]}. */
export function listOf(value: unknown): unknown[] | undefined {
  if (Array.isArray(value)) return value;
  return isObject(value) && Array.isArray(value.items) ? value.items : undefined;
}

export interface Bounds<D> {
  min?: number;
  max?: number;
  /** For a field that is absent or null; without one the field has to be there. */
  fallback?: D;
}

/**
 * The fields of a JSON object that came from outside. Each reader gives the field in the type that its name says or throws
 * `bad_model`; a field that is null counts as absent.
 */
export class Fields {
  readonly where: string;
  private readonly object: Record<string, unknown>;

  constructor(value: unknown, where: string) {
    if (!isObject(value)) throw badModel(where, 'an object', value);
    this.object = value;
    this.where = where;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.object, name) ? (this.object[name] ?? undefined) : undefined;
  }

  names(): string[] {
    return Object.keys(this.object);
  }

  error(name: string, expected: string): ServiceError {
    return badModel(`${this.where}: ${name}`, expected, this.get(name));
  }

  fields(name: string): Fields {
    return new Fields(this.get(name), `${this.where}: ${name}`);
  }

  list(name: string): unknown[] {
    const list = listOf(this.get(name));
    if (list === undefined) throw this.error(name, 'an array');
    return list;
  }

  string(name: string): string {
    const value = this.get(name);
    if (typeof value !== 'string' || value === '') throw this.error(name, 'a string that is not empty');
    return value;
  }

  choice<C extends string>(name: string, choices: readonly C[]): C {
    const value = this.get(name);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.error(name, `one of ${choices.join(', ')}`);
    return found;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'boolean') throw this.error(name, 'true or false');
    return value;
  }

  number<D extends number | null = never>(name: string, bounds: Bounds<D> = {}): number | D {
    return this.numeric(name, 'a number', Number.isFinite, bounds);
  }

  integer<D extends number | null = never>(name: string, bounds: Bounds<D> = {}): number | D {
    return this.numeric(name, 'a whole number', Number.isSafeInteger, bounds);
  }

  /** One whole number for both, or a list of two. */
  pair(name: string, { min = 1, max = 65535, fallback }: Bounds<Pair> = {}): Pair {
    const value = this.get(name);
    if (value === undefined && fallback !== undefined) return [...fallback];
    const list = listOf(value) ?? [value, value];
    const fits = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= min && (n as number) <= max;
    if (list.length !== 2 || !list.every(fits)) {
      throw this.error(name, `a whole number from ${min} to ${max}, or two of them`);
    }
    return [list[0] as number, list[1] as number];
  }

  private numeric<D extends number | null>(
    name: string,
    kind: string,
    is: (value: unknown) => boolean,
    { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, fallback }: Bounds<D>,
  ): number | D {
    const value = this.get(name);
    if (value === undefined && fallback !== undefined) return fallback;
    if (!is(value) || (value as number) < min || (value as number) > max) {
      const from = min > Number.NEGATIVE_INFINITY ? ` from ${min}` : '';
      throw this.error(name, `${kind}${from}${max < Number.POSITIVE_INFINITY ? ` to ${max}` : ''}`);
    }
    return value as number;
  }
}
