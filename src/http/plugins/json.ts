/**
 * Reads a JSON body strictly: depth is bounded before anything is built, a fault is reported with its position, and keys
 * that could reach a prototype are refused.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { ServiceError } from '../../errors.js';
import { findJsonFault } from './json-fault.js';

/** Arrays and objects inside one another at most. A batch of images is 6 deep, a topology of nested models about 15. */
export const MAX_DEPTH = 32;

/** @throws ServiceError empty_body, malformed_json, body_too_deep, unknown_field (`__proto__`) */
export function readJson(bytes: Buffer): unknown {
  const deepAt = tooDeepAt(bytes, MAX_DEPTH);
  if (deepAt >= 0) {
    const extra = { expected: `at most ${MAX_DEPTH} levels`, actual: 'more', position: deepAt };
    const detail = `body: expected at most ${MAX_DEPTH} levels of arrays and objects, got more at byte ${deepAt}`;
    throw new ServiceError('body_too_deep', detail, extra);
  }
  const ascii = isAscii(bytes);
  if (!ascii && !isUtf8(bytes)) {
    const extra = { expected: 'UTF-8', actual: 'bytes that are not UTF-8' };
    throw new ServiceError('malformed_json', 'body: expected JSON in UTF-8, got bytes that are not UTF-8', extra);
  }
  // numbers are ASCII, and their bytes are characters as they stand
  const text = bytes.toString(ascii ? 'latin1' : 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed(text);
  }
  // an escaped underscore is the only other way to write such a key
  if (text.includes('__proto__') || text.includes('\\u00')) refusePrototypeKeys(value, []);
  return value;
}

function malformed(text: string): ServiceError {
  if (text.trim() === '') {
    return new ServiceError('empty_body', 'body: expected a JSON document, got nothing', {
      expected: 'a JSON document',
      actual: 'nothing',
    });
  }
  const { position, expected, actual } = findJsonFault(text);
  const detail = `body: expected ${expected} at position ${position}, got ${actual}`;
  return new ServiceError('malformed_json', detail, { expected, actual, position });
}

/** Byte at which the nesting first passes `limit`, or -1. One pass, no allocation; strings are skipped. */
function tooDeepAt(bytes: Buffer, limit: number): number {
  // a flat list of numbers has few brackets, and finding them is many times as fast as looking at each byte
  if (opens(bytes, 0x5b, limit) + opens(bytes, 0x7b, limit) <= limit) return -1;
  const end = bytes.length;
  let depth = 0;
  for (let i = 0; i < end; i++) {
    const c = bytes[i];
    // nearly all of a body is digits, commas and points
    if (c < 0x5b) {
      if (c !== 0x22) continue;
      while (++i < end && bytes[i] !== 0x22) if (bytes[i] === 0x5c) i++;
      continue;
    }
    // one bit tells [ from { and ] from }
    const bracket = c | 0x20;
    if (bracket === 0x7b) {
      if (++depth > limit) return i;
    } else if (bracket === 0x7d) depth--;
  }
  return -1;
}

/** How often a byte occurs, counted to one past `limit` at most. */
function opens(bytes: Buffer, bracket: number, limit: number): number {
  let count = 0;
  for (let at = bytes.indexOf(bracket); at >= 0 && count <= limit; at = bytes.indexOf(bracket, at + 1)) count++;
  return count;
}

function refusePrototypeKeys(value: unknown, path: string[]): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value) && Object.hasOwn(value, '__proto__')) {
    const field = [...path, '__proto__'].join('.');
    const extra = { field, expected: 'no such key', actual: '"__proto__"' };
    throw new ServiceError('unknown_field', `body: expected no key ${field}, got one`, extra);
  }
  for (const [key, child] of Object.entries(value)) {
    if (typeof child === 'object') refusePrototypeKeys(child, [...path, key]);
  }
}
