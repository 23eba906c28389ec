import { randomBytes } from 'node:crypto';

/** Crockford's base 32: no i, l, o, u. */
const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_DIGITS = 10;
const RANDOM_BYTES = 10;

/** Job ids sort by the time they were made: 10 digits of milliseconds since 1970, then 80 random bits in 16 digits. */
export class JobIds {
  #last: number;

  /** @param newest the newest id already in use: later ones sort after it even when the clock was set back */
  constructor(newest?: string) {
    this.#last = newest === undefined ? 0 : timeOf(newest);
  }

  next(): string {
    this.#last = Math.max(Date.now(), this.#last + 1);
    return timeDigits(this.#last) + randomDigits();
  }
}

export function isJobId(text: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]{26}$/.test(text);
}

function timeDigits(milliseconds: number): string {
  let digits = '';
  for (let rest = milliseconds, i = 0; i < TIME_DIGITS; i++, rest = Math.floor(rest / 32)) {
    digits = DIGITS[rest % 32] + digits;
  }
  return digits;
}

function timeOf(id: string): number {
  let milliseconds = 0;
  for (const digit of id.slice(0, TIME_DIGITS)) milliseconds = milliseconds * 32 + DIGITS.indexOf(digit);
  return milliseconds;
}

function randomDigits(): string {
  let bits = BigInt(`0x${randomBytes(RANDOM_BYTES).toString('hex')}`);
  let digits = '';
  for (let i = 0; i < (RANDOM_BYTES * 8) / 5; i++, bits >>= 5n) digits += DIGITS[Number(bits & 31n)];
  return digits;
}
