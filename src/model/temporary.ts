import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** `.tmp-<machine>-<pid>-<random>`: what is still being written; readers pass over it. */
const PATTERN = /^\.tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]+$/;
/** Past it, a leftover whose writer cannot be asked is taken for dead. No publication takes so long; an upload may, but its process can be asked. */
const LEFT_MS = 3_600_000;

export function temporaryName(): string {
  return `.tmp-${machine()}-${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** Where a process id means something: this host, this process namespace (containers may share the folder). */
function machine(): string {
  let namespace = '';
  try {
    namespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Not on Linux: the host alone.
  }
  return createHash('sha256').update(`${hostname()} ${namespace}`).digest('hex').slice(0, 8);
}

/** Removes what killed writers left in the folders under a root (models, data sets), and nothing that may still be written. */
export function removeLeftovers(root: string): void {
  for (const model of names(root)) removeLeftoversIn(join(root, model));
}

/** The same of one folder. */
export function removeLeftoversIn(folder: string): void {
  for (const name of names(folder)) {
    const match = PATTERN.exec(name);
    if (match === null) continue;
    const path = join(folder, name);
    try {
      if (isDead(match[1], Number(match[2]), statSync(path).mtimeMs)) rmSync(path, { recursive: true, force: true });
    } catch {
      // Another process removed it first, or this one may not: either way it is only passed over.
    }
  }
}

function isDead(host: string, pid: number, mtimeMs: number): boolean {
  const isOld = Date.now() - mtimeMs > LEFT_MS;
  if (host !== machine()) return isOld;
  // A container's processes have the same few ids at every start: what is older than this one is another's.
  if (pid === process.pid) return isOld && mtimeMs < Date.now() - 1000 * process.uptime();
  return !isAlive(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
