import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryName } from './temporary.js';

/** Writes a new file so that it survives a power cut, once its folder is synced too. */
export async function writeSynced(path: string, data: Uint8Array | string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the names in a folder durable: a rename is in the folder, not in the file. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder and those above it, all durable. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

/** Puts a whole file in place of another: a reader finds the old one or the new one. */
export async function replaceFile(path: string, data: Uint8Array | string): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, temporaryName());
  try {
    await writeSynced(temporary, data);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(folder);
}

/**
 * Writes a file under the first free name of those that `names` gives, whole from the moment it is visible: a hard link
 * fails where the name is taken, whoever took it.
 *
 * @param taken asked about each name that is taken; true ends the search there
 * @returns the name
 */
export async function claimName(
  folder: string,
  text: string,
  names: Iterable<string>,
  taken: (name: string) => Promise<boolean>,
): Promise<string> {
  const temporary = join(folder, temporaryName());
  try {
    await writeSynced(temporary, text);
    for (const name of names) {
      if ((await linked(temporary, join(folder, name))) || (await taken(name))) {
        await syncFolder(folder);
        return name;
      }
    }
    throw new Error(`${folder}: every name is taken`);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** False where the name is taken. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
