import { setPriority } from 'node:os';

/**
 * Of threads that train: about a tenth of a core's share where predictions want it (the engine's threads have 4,
 * native/pool.cc), a whole core where not.
 */
const NICENESS = 14;

/** On Linux niceness belongs to the thread, and to the threads that it begins; elsewhere it would slow the service. */
export function giveWay(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, NICENESS);
  } catch {
    // Not allowed here: it works at the service's own priority, then.
  }
}
