/** Where a text stops being JSON. Runs only when JSON.parse has refused it: V8's messages have no position in all cases. */

export interface JsonFault {
  /** In characters, from 0. */
  position: number;
  expected: string;
  actual: string;
}

class Stop extends Error {
  constructor(
    readonly position: number,
    readonly expected: string,
  ) {
    super(expected);
  }
}

/** The nesting of `text` is bounded already, so this may recurse. */
export function findJsonFault(text: string): JsonFault {
  try {
    const end = skip(text, value(text, skip(text, 0)));
    if (end < text.length) throw new Stop(end, 'the end of the body');
    throw new Stop(0, 'a JSON document');
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { position: error.position, expected: error.expected, actual: excerpt(text, error.position) };
  }
}

/** Each takes the position at which its part begins, and gives the one after it. */
function value(text: string, at: number): number {
  const c = text[at];
  if (c === '{') return sequence(text, at + 1, '}', member);
  if (c === '[') return sequence(text, at + 1, ']', value);
  if (c === '"') return string(text, at);
  for (const word of ['true', 'false', 'null']) if (text.startsWith(word, at)) return at + word.length;
  return number(text, at);
}

function sequence(text: string, at: number, close: string, item: (text: string, at: number) => number): number {
  at = skip(text, at);
  if (text[at] === close) return at + 1;
  for (;;) {
    at = skip(text, item(text, at));
    if (text[at] === close) return at + 1;
    if (text[at] !== ',') throw new Stop(at, `"," or "${close}"`);
    at = skip(text, at + 1);
  }
}

function member(text: string, at: number): number {
  if (text[at] !== '"') throw new Stop(at, 'a key in double quotes');
  at = skip(text, string(text, at));
  if (text[at] !== ':') throw new Stop(at, '":"');
  return value(text, skip(text, at + 1));
}

function string(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) return i + 1;
    if (c < 0x20) throw new Stop(i, 'a printable character or the end of the string');
    if (c !== 0x5c) continue;
    i++;
    if (text[i] === 'u') {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(i + 1, i + 5))) throw new Stop(i + 1, 'four hexadecimal digits');
      i += 4;
    } else if (!'"\\/bfnrt'.includes(text[i] ?? ' ')) throw new Stop(i, 'a valid escape');
  }
  throw new Stop(text.length, 'the end of the string');
}

function number(text: string, at: number): number {
  const start = at;
  if (text[at] === '-') at++;
  const whole = digits(text, at);
  if (whole === at) throw new Stop(start, 'a value');
  // no leading zeros: what follows a first 0 is reported by the caller
  at = text[at] === '0' ? at + 1 : whole;
  if (text[at] === '.') at = someDigits(text, at + 1);
  if (text[at] === 'e' || text[at] === 'E') {
    at++;
    if (text[at] === '+' || text[at] === '-') at++;
    at = someDigits(text, at);
  }
  return at;
}

function someDigits(text: string, at: number): number {
  const end = digits(text, at);
  if (end === at) throw new Stop(at, 'a digit');
  return end;
}

function digits(text: string, at: number): number {
  while (text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x39) at++;
  return at;
}

function skip(text: string, at: number): number {
  while (at < text.length && ' \t\n\r'.includes(text[at])) at++;
  return at;
}

function excerpt(text: string, at: number): string {
  if (at >= text.length) return 'the end of the body';
  const name = /^-?(NaN|Infinity)/.exec(text.slice(at, at + 10));
  if (name) return `${name[0]}, which JSON does not have`;
  return JSON.stringify(text.slice(at, at + 12));
}
