import assert from 'node:assert/strict';
import { test } from 'node:test';
import Type from 'typebox';
import { ServiceError } from '../../src/errors.js';
import { describe, show, validatorCompiler } from '../../src/http/plugins/validation.js';
import { strictObject } from '../../src/http/schemas/common.js';

type Result = { value?: unknown; error?: ServiceError };

function validate(schema: object, httpPart: string, data: unknown): Result {
  return (validatorCompiler({ schema, httpPart } as never) as (data: unknown) => Result)(data);
}

const query = strictObject({
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })),
  x: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  s: Type.Optional(Type.String({ maxLength: 3 })),
});

test('query numbers come from text; what is no number stays what it was', () => {
  assert.deepEqual(validate(query, 'querystring', { n: '3', x: '1e-2', s: '12' }).value, { n: 3, x: 0.01, s: '12' });
  const refused: [Record<string, unknown>, string, string][] = [
    [{ n: 'four' }, 'n: expected a whole number from 1 to 9, got "four"', 'n'],
    [{ n: '' }, 'n: expected a whole number from 1 to 9, got ""', 'n'],
    [{ n: '2.5' }, 'n: expected a whole number from 1 to 9, got 2.5', 'n'],
    [{ n: '0' }, 'n: expected a whole number from 1 to 9, got 0', 'n'],
    [{ n: '0x2' }, 'n: expected a whole number from 1 to 9, got "0x2"', 'n'],
    [{ n: 'true' }, 'n: expected a whole number from 1 to 9, got "true"', 'n'],
    [{ n: ['3', '4'] }, 'n: expected one value, a whole number from 1 to 9, got 2 values: "3", "4"', 'n'],
    [{ x: 'Infinity' }, 'x: expected a finite number above 0, got "Infinity"', 'x'],
    [{ x: '1e999' }, 'x: expected a finite number above 0, got "1e999"', 'x'],
    [{ x: 'NaN' }, 'x: expected a finite number above 0, got "NaN"', 'x'],
    [{ x: '-0' }, 'x: expected a finite number above 0, got 0', 'x'],
    [{ s: 'long' }, 's: expected a string of at most 3 characters, got "long"', 's'],
  ];
  for (const [data, detail, field] of refused) {
    const { error } = validate(query, 'querystring', data);
    assert.equal(error?.code, 'invalid_field', detail);
    assert.equal(error?.message, detail);
    assert.equal(error?.extra.field, field);
  }
});

test('unknown query fields are refused by name, also the ones of Object.prototype', () => {
  for (const name of ['m', '__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const data = Object.defineProperty(Object.create(null), name, { value: '1', enumerable: true });
    const { error } = validate(query, 'querystring', data);
    assert.equal(error?.code, 'unknown_field', name);
    assert.equal(error?.message, `query: expected only n, x, s, got ${JSON.stringify(name)}`);
  }
  assert.match(
    validate(strictObject({}), 'querystring', { a: '1' }).error?.message ?? '',
    /expected no field, got "a"/,
  );
});

test('however many fields are unknown, one is named', () => {
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`m${i}`, '1']));
  const { error } = validate(query, 'querystring', { n: '3', ...many });
  assert.equal(error?.code, 'unknown_field');
  assert.equal(error?.message, 'query: expected only n, x, s, got "m0"');
  const nested = strictObject({ inner: strictObject({ kind: Type.String() }) });
  const fault = validate(nested, 'body', { inner: { kind: 'a', ...many } }).error;
  assert.equal(fault?.message, 'body: expected only kind, got "inner.m0"');
  assert.equal(fault?.extra.field, 'inner.m0');
});

test('bodies are not coerced; nested fields have their path', () => {
  const body = strictObject({
    count: Type.Integer(),
    inner: Type.Optional(strictObject({ kind: Type.Unsafe({ type: 'string', enum: ['a', 'b'] }) })),
    from: Type.Optional(Type.Union([Type.Literal('current'), Type.Integer({ minimum: 1 }), Type.Null()])),
  });
  assert.deepEqual(validate(body, 'body', { count: 1, from: null }).value, { count: 1, from: null });
  const refused: [unknown, string, string][] = [
    [{ count: '1' }, 'invalid_field', 'count: expected a whole number, got "1"'],
    [{}, 'missing_field', 'body: expected the field count (a whole number), got nothing'],
    [null, 'invalid_field', 'body: expected an object, got null'],
    [[1], 'invalid_field', 'body: expected an object, got an array of 1'],
    [{ count: 1, inner: { kind: 'c' } }, 'invalid_field', 'inner.kind: expected one of a, b, got "c"'],
    [{ count: 1, inner: { kind: 'a', x: 1 } }, 'unknown_field', 'body: expected only kind, got "inner.x"'],
    [{ count: 1, inner: {} }, 'missing_field', 'body: expected the field inner.kind (one of a, b), got nothing'],
    [
      { count: 1, from: 'x' },
      'invalid_field',
      'from: expected "current" or a whole number of at least 1 or null, got "x"',
    ],
  ];
  for (const [data, code, detail] of refused) {
    const { error } = validate(body, 'body', data);
    assert.ok(error instanceof ServiceError);
    assert.deepEqual([error.code, error.message], [code, detail]);
  }
});

test('a value is shown short, and a body never whole', () => {
  assert.equal(show('x'.repeat(1000)).length, 63);
  assert.equal(show(Array(1e6).fill(1)), 'an array of 1000000');
  assert.equal(show({ secret: 1 }), 'an object');
  assert.equal(show(undefined), 'nothing');
  assert.equal(describe({ type: 'array', minItems: 1 }), 'an array of at least 1 elements');
});
