import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { MAX_DEPTH, readJson } from '../../src/http/plugins/json.js';
import { findJsonFault } from '../../src/http/plugins/json-fault.js';
import { Random } from '../support/random.js';

function refusal(text: string | Buffer): ServiceError {
  try {
    readJson(Buffer.from(text as string));
  } catch (error) {
    assert.ok(error instanceof ServiceError, `${text}: ${error}`);
    return error;
  }
  assert.fail(`accepted: ${text}`);
}

test('a fault is found where it is', () => {
  const faults: [string, number, RegExp, RegExp][] = [
    ['{"a":NaN}', 5, /^a value$/, /^NaN, which JSON does not have$/],
    ['{"a":-Infinity}', 5, /^a value$/, /^-Infinity/],
    ['[1,2', 4, /"," or "\]"/, /the end of the body/],
    ['[1,]', 3, /a value/, /"\]"/],
    ['{"a" 1}', 5, /":"/, /1/],
    ["{'a':1}", 1, /a key in double quotes/, /'a'/],
    ['{"a":01}', 6, /"," or "}"/, /1/],
    ['[1.]', 3, /a digit/, /\]/],
    ['[1e+]', 4, /a digit/, /\]/],
    ['["\\q"]', 3, /a valid escape/, /q/],
    ['["\\u12g4"]', 4, /four hexadecimal digits/, /12g4/],
    ['["a\nb"]', 3, /a printable character/, /\\n/],
    ['"abc', 4, /the end of the string/, /the end of the body/],
    ['[] []', 3, /the end of the body/, /\[\]/],
    ['tru', 0, /a value/, /tru/],
  ];
  for (const [text, position, expected, actual] of faults) {
    const fault = findJsonFault(text);
    assert.equal(fault.position, position, text);
    assert.match(fault.expected, expected, text);
    assert.match(fault.actual, actual, text);
    assert.equal(refusal(text).code, 'malformed_json', text);
  }
});

test('it takes what JSON.parse takes, and says where it refuses, on mutated documents', () => {
  const random = new Random(11);
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '1',
    '-',
    '.',
    'e',
    ' ',
    '\n',
    'null',
    'tru',
    '"k"',
    'é',
    '\\u0041',
  ];
  const seeds = ['{"a":[1,2.5e-3,{"b":"x\\n"}],"c":null}', '[[[]],"é",true,-0.0,1E5]', '{"instances":[[0,1],[2,3]]}'];
  let [taken, refused] = [0, 0];
  for (let i = 0; i < 4000; i++) {
    let text = random.pick(seeds);
    for (let edits = random.integer(0, 3); edits > 0; edits--) {
      const at = random.integer(0, text.length);
      text = text.slice(0, at) + random.pick(pieces) + text.slice(at + random.integer(0, 2));
    }
    let value: unknown;
    let valid = true;
    try {
      value = JSON.parse(text);
    } catch {
      valid = false;
    }
    if (valid) {
      taken++;
      assert.deepEqual(readJson(Buffer.from(text)), value, text);
      continue;
    }
    refused++;
    const { code, extra } = refusal(text);
    assert.equal(code, text.trim() === '' ? 'empty_body' : 'malformed_json', text);
    if (code === 'empty_body') continue;
    const position = extra.position as number;
    assert.ok(position >= 0 && position <= text.length, text);
    assert.notEqual(extra.expected, 'a JSON document', `the fault of ${text} was not found`);
    // all that comes before the position can begin a document: cut there, the fault is the end
    const prefix = text.slice(0, position);
    if (prefix.trim() !== '') assert.ok(isPrefix(prefix), `${text} at ${position}: ${prefix}`);
  }
  assert.ok(taken > 500 && refused > 500, `${taken} taken, ${refused} refused`);
});

/** True where something can be added to the text to make it JSON. */
function isPrefix(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return findJsonFault(text).position === text.length;
  }
}

test('depth is bounded before anything is built, strings do not count', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  assert.deepEqual(readJson(Buffer.from(nested(MAX_DEPTH))), JSON.parse(nested(MAX_DEPTH)));
  assert.equal(refusal(nested(MAX_DEPTH + 1)).code, 'body_too_deep');
  assert.equal(refusal('['.repeat(1_000_000)).code, 'body_too_deep');
  assert.equal(refusal('{"a":'.repeat(100_000)).code, 'body_too_deep');
  const text = JSON.stringify({ a: '['.repeat(100), b: '\\"[[[[[['.repeat(50) });
  assert.deepEqual(readJson(Buffer.from(text)), JSON.parse(text));
});

test('keys that reach a prototype are refused, however they are written', () => {
  for (const text of [
    '{"__proto__":{"a":1}}',
    '{"x":[{"__proto__":1}]}',
    '{"\\u005f_proto__":1}',
    '{"\\u005F\\u005Fproto\\u005f_":1}',
    '{"__\\u0070roto__":null}',
  ]) {
    const error = refusal(text);
    assert.equal(error.code, 'unknown_field', text);
    assert.match(error.message, /__proto__/);
  }
  assert.deepEqual(readJson(Buffer.from('{"a":"__proto__"}')), { a: '__proto__' });
});

test('long runs of one token take no more than their length', () => {
  const million = 1_000_000;
  for (const text of [
    `[${'1'.repeat(million)},x]`,
    `["${'a'.repeat(million)}`,
    `[${' '.repeat(million)}x`,
    `"${'\\"'.repeat(million)}`,
  ]) {
    assert.equal(refusal(text).code, 'malformed_json');
  }
});

test('bytes that are not UTF-8 and blank bodies are refused', () => {
  assert.equal(refusal(Buffer.from([0x22, 0xff, 0x22])).code, 'malformed_json');
  assert.equal(refusal(' \n\t ').code, 'empty_body');
});
