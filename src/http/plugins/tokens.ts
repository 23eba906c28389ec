import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** Milliseconds for which what was read of the file is believed. */
const FRESH_MS = 1000;
const TOKEN = /^[\x21-\x2b\x2d-\x7e]+$/;

export interface AdminTokenOptions {
  tokens: readonly string[];
  /** Has a token on each line; what begins with `#` is a comment. Read again when it is older than a second. */
  file?: string;
  logger?: { warn(fields: object, message: string): void };
}

/** The tokens that open /admin/*. Any of them does, so that a new one can be given out before the old one is taken away. */
export class AdminTokens {
  readonly #fixed: readonly Buffer[];
  readonly #options: AdminTokenOptions;
  #filed: readonly Buffer[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #warned = '';

  constructor(options: AdminTokenOptions) {
    this.#options = options;
    this.#fixed = options.tokens.map(digest);
  }

  /** Reads the file for the first time. @throws Error where it cannot be read, or has no token */
  async open(): Promise<void> {
    const { file } = this.#options;
    if (file !== undefined) await this.#read(file);
  }

  /** Looks at the file again, where it is time to. What it said stays in force where it cannot be read. */
  async refresh(): Promise<void> {
    const { file } = this.#options;
    if (file === undefined || performance.now() - this.#readAt < FRESH_MS) return;
    this.#reading ??= this.#readAgain(file);
    await this.#reading;
  }

  /** Takes the same time whatever was given: digests have one length, and every token is compared. */
  has(given: string): boolean {
    const wanted = digest(given);
    let found = 0;
    for (const token of this.#fixed) found |= Number(timingSafeEqual(token, wanted));
    for (const token of this.#filed) found |= Number(timingSafeEqual(token, wanted));
    return found === 1;
  }

  async #read(file: string): Promise<void> {
    const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
    const tokens = lines.filter((line) => line !== '' && !line.startsWith('#'));
    const wrong = lines.indexOf(tokens.find((line) => !TOKEN.test(line)) ?? '\0');
    if (wrong >= 0) throw new Error(`line ${wrong + 1}: expected a token without spaces and commas`);
    if (tokens.length === 0) throw new Error('expected a token on a line, got none');
    this.#filed = tokens.map(digest);
  }

  async #readAgain(file: string): Promise<void> {
    try {
      await this.#read(file);
      this.#warned = '';
    } catch (err) {
      // once for each reason: it is tried again with every request
      const { message } = err as Error;
      if (message !== this.#warned) {
        this.#options.logger?.warn(
          { err, file },
          'the file of admin tokens cannot be read: those it had stay in force',
        );
      }
      this.#warned = message;
    } finally {
      this.#readAt = performance.now();
      this.#reading = undefined;
    }
  }
}

/** The tokens of a comma-separated list. @throws Error that says what is wrong, without the token */
export function parseTokens(list: string): string[] {
  const tokens = list.split(',').map((token) => token.trim());
  const wrong = tokens.findIndex((token) => !TOKEN.test(token));
  if (list !== '' && wrong >= 0) {
    const what = tokens[wrong] === '' ? 'nothing' : 'spaces or characters that are not ASCII';
    throw new Error(`expected tokens between commas, got ${what} as number ${wrong + 1}`);
  }
  return list === '' ? [] : tokens;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
