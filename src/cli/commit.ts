import { execFileSync } from 'node:child_process';
import { PROJECT_ROOT } from '../config.js';
import { UsageError } from './command-line.js';

/**
 * The commit that weights can be made again from; null outside a repository.
 * @throws UsageError where what weights depend on differs from it, unless that is allowed
 */
export function commit(allowDirty: boolean): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', PROJECT_ROOT, ...args], { encoding: 'utf8', stdio: 'pipe' });
  let head: string;
  try {
    head = git('rev-parse', 'HEAD').trim();
  } catch {
    return null;
  }
  const changes = git(
    'status',
    '--porcelain',
    '--',
    'src',
    'native',
    'scripts/build-native.mjs',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
  ).trim();
  if (changes !== '' && !allowDirty) {
    throw new UsageError(
      `files differ from the commit that the version would name (--allow-dirty trains all the same):\n${changes}`,
    );
  }
  return head;
}

/** A command as it was given, for the record. */
export function invocation(script: string, args: readonly string[]): string {
  return `npm run ${script} -- ${args.map(quoted).join(' ')}`;
}

/** The arguments without flags that only say where files are on this machine, and nothing of what is made. */
export function withoutPlaces(args: readonly string[], places: readonly string[]): string[] {
  return args.filter((word, i) => {
    return (
      !places.includes(word) && !places.includes(args[i - 1]) && !places.some((flag) => word.startsWith(`${flag}=`))
    );
  });
}

function quoted(word: string): string {
  return /^[\w./=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
