import { ServiceError } from '../../errors.js';

/** How many names an error or a record gives before it only counts. */
export const NAMED = 5;

/** A ServiceError `bad_dataset`. @param where file of the data set, relative to its folder */
export function badDataset(where: string, expected: string, actual: string): ServiceError {
  return new ServiceError('bad_dataset', `${where}: expected ${expected}, got ${actual}`, { where, expected, actual });
}

/** The first few of a list of names, in words. */
export function namesIn(names: readonly string[], nothing = 'none'): string {
  if (names.length === 0) return nothing;
  const shown = names.slice(0, NAMED).map((name) => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name));
  return shown.join(', ') + (names.length > NAMED ? ` and ${names.length - NAMED} more` : '');
}

/** What the file system says, without the machine's paths. */
export function fileFault(name: string, error: unknown): ServiceError {
  const { code, message } = error as NodeJS.ErrnoException;
  return badDataset(name, 'a file or folder that can be read', code ?? message);
}
