/** What the commands share: flags, usage, and how they end. */
import { parseArgs } from 'node:util';
import type { BackendName } from '../tensorflow/backend.js';

export interface Flag {
  /** `boolean` takes no value. */
  type: 'string' | 'boolean';
  /** What stands for the value in the usage: `N`, `name`, … */
  value?: string;
  meaning: string;
}

/** A mistake in the command line: the message and the usage are shown, without a stack. */
export class UsageError extends Error {}

/**
 * Reads flags and positional words; unknown flags are refused.
 * @throws UsageError
 */
export function readCommandLine(
  args: string[],
  flags: Record<string, Flag>,
  positionals: { least: number; most: number },
) {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    const options = Object.fromEntries(Object.entries(flags).map(([name, { type }]) => [name, { type }]));
    parsed = parseArgs({ args, options, allowPositionals: positionals.most > 0, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { least, most } = positionals;
  const count = parsed.positionals.length;
  if (parsed.values.help !== true && (count < least || count > most)) {
    throw new UsageError(`expected ${least === most ? least : `${least} to ${most}`} names, got ${count}`);
  }
  return parsed as { values: Record<string, string | boolean | undefined>; positionals: string[] };
}

/** A flag's value as a number; undefined where it is not given. */
export function numberFlag(values: Record<string, string | boolean | undefined>, name: string): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const number = Number(text);
  if (typeof text !== 'string' || text.trim() === '' || !Number.isFinite(number)) {
    throw new UsageError(`--${name}: expected a number, got ${JSON.stringify(text)}`);
  }
  return number;
}

/** A flag's value as a whole number from 1; undefined where it is not given. */
export function wholeFlag(values: Record<string, string | boolean | undefined>, name: string): number | undefined {
  const number = numberFlag(values, name);
  if (number === undefined || (Number.isSafeInteger(number) && number >= 1)) return number;
  throw new UsageError(`--${name}: expected a whole number from 1, got ${number}`);
}

/** `--backend`, by default auto. */
export function backendFlag({ backend = 'auto' }: Record<string, string | boolean | undefined>): BackendName | 'auto' {
  if (backend === 'auto' || backend === 'wasm' || backend === 'tensorflow') return backend;
  throw new UsageError(`--backend: expected auto, wasm or tensorflow, got ${JSON.stringify(backend)}`);
}

/** A flag's value as true or false; undefined where it is not given. */
export function booleanFlag(values: Record<string, string | boolean | undefined>, name: string): boolean | undefined {
  const text = values[name];
  if (text === undefined || typeof text === 'boolean') return text;
  if (text === 'true' || text === 'false') return text === 'true';
  throw new UsageError(`--${name}: expected true or false, got ${JSON.stringify(text)}`);
}

export function usage(synopsis: string, flags: Record<string, Flag>): string {
  const names = Object.entries(flags).map(([name, { value }]) => `--${name}${value ? ` ${value}` : ''}`);
  const width = Math.max(...names.map((name) => name.length));
  const lines = Object.values(flags).map(({ meaning }, i) => `  ${names[i].padEnd(width)}  ${meaning}`);
  return [`usage: ${synopsis}`, '', ...lines].join('\n');
}

/** A word of a command line as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w./=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Runs a command: a mistake of the caller's ends it with status 2, anything else that fails with 1. */
export async function runCommand(help: string, command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    const caller = error instanceof UsageError;
    const { name, message, stack } = error as Error;
    console.error(caller ? `${message}\n\n${help}` : name === 'ServiceError' ? message : stack);
    process.exitCode = caller ? 2 : 1;
  }
}
