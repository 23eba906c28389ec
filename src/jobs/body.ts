import { ServiceError } from '../errors.js';

/** An object that a client sent, read field by field; every complaint names the field, what was expected and what came. */
export class Body {
  readonly #values: Record<string, unknown>;
  readonly #path: string;

  /**
   * @param path of the object in the body, empty for the body itself
   * @throws ServiceError `invalid_field` where it is not an object, `unknown_field` for a field that is not in the list
   */
  constructor(value: unknown, path: string, known: readonly string[]) {
    this.#path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalid(path === '' ? 'body' : path, 'an object', value);
    }
    this.#values = value as Record<string, unknown>;
    for (const name of Object.keys(value)) {
      if (known.includes(name)) continue;
      const field = this.#full(name);
      throw new ServiceError('unknown_field', `${shorten(field)}: expected one of ${known.join(', ')}`, {
        field: shorten(field),
        expected: [...known],
      });
    }
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#values, name) && this.#values[name] !== undefined;
  }

  get(name: string): unknown {
    return this.has(name) ? this.#values[name] : undefined;
  }

  required<T>(name: string, check: (value: unknown) => value is T, expected: string): T {
    if (!this.has(name)) {
      const field = this.#full(name);
      throw new ServiceError('missing_field', `${field}: expected ${expected}, got nothing`, { field, expected });
    }
    return this.#checked(name, check, expected);
  }

  optional<T>(name: string, fallback: T, check: (value: unknown) => value is T, expected: string): T {
    return this.has(name) ? this.#checked(name, check, expected) : fallback;
  }

  /** With the fallback null, null is also taken. */
  integer(name: string, fallback: number, min: number, max: number): number;
  integer(name: string, fallback: null, min: number, max: number): number | null;
  integer(name: string, fallback: number | null, min: number, max: number): number | null {
    const check = (v: unknown): v is number | null =>
      (fallback === null && v === null) || (Number.isInteger(v) && Number(v) >= min && Number(v) <= max);
    const or = fallback === null ? ' or null' : '';
    return this.optional(name, fallback, check, `a whole number from ${min} to ${max}${or}`);
  }

  number(name: string, fallback: number, min: number, max: number): number {
    const check = (v: unknown): v is number => typeof v === 'number' && v >= min && v <= max;
    return this.optional(name, fallback, check, min === max ? String(min) : `a number from ${min} to ${max}`);
  }

  choice<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const check = (v: unknown): v is T => choices.includes(v as T);
    return this.optional(name, fallback, check, `one of ${choices.map(describe).join(', ')}`);
  }

  /** The object in a field; an empty one where it is absent. */
  inner(name: string, known: readonly string[]): Body {
    return new Body(this.has(name) ? this.#values[name] : {}, this.#full(name), known);
  }

  error(name: string, expected: string, actual: unknown = this.get(name)): ServiceError {
    return invalid(this.#full(name), expected, actual);
  }

  #checked<T>(name: string, check: (value: unknown) => value is T, expected: string): T {
    const value = this.#values[name];
    if (!check(value)) throw this.error(name, expected);
    return value;
  }

  #full(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }
}

/** A value as JSON, cut to a line. */
export function describe(value: unknown): string {
  return shorten(JSON.stringify(value) ?? String(value));
}

function invalid(field: string, expected: string, actual: unknown): ServiceError {
  const shown = describe(actual);
  return new ServiceError('invalid_field', `${field}: expected ${expected}, got ${shown}`, {
    field,
    expected,
    actual: shown,
  });
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
