import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFault } from './faults.js';

/** A file or folder in a folder. */
export interface Entry {
  name: string;
  path: string;
  isFolder: boolean;
  /** Bytes. */
  size: number;
  mtimeMs: number;
}

/** What systems leave in folders unasked. */
const LITTER = ['__MACOSX', 'Thumbs.db', 'desktop.ini'];
const AT_ONCE = 64;

/**
 * What lies in a folder, by name in code unit order: the same on every machine. Hidden names are left out, and what is
 * neither a file nor a folder; links are followed.
 * @param where as errors name the folder
 * @throws ServiceError `bad_dataset`
 */
export async function entriesOf(folder: string, where: string): Promise<Entry[]> {
  const found = await readdir(folder).catch((error: unknown) => {
    throw fileFault(where, error);
  });
  const names = found.filter((name) => !name.startsWith('.') && !LITTER.includes(name)).sort();
  const entries: Entry[] = [];
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const some = await Promise.all(names.slice(from, from + AT_ONCE).map((name) => entry(folder, name)));
    for (const found of some) if (found !== null) entries.push(found);
  }
  return entries;
}

async function entry(folder: string, name: string): Promise<Entry | null> {
  const path = join(folder, name);
  try {
    const stats = await stat(path);
    if (!stats.isFile() && !stats.isDirectory()) return null;
    return { name, path, isFolder: stats.isDirectory(), size: stats.size, mtimeMs: stats.mtimeMs };
  } catch (error) {
    // A link to nothing or to itself, or a file that has just been removed.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ELOOP') return null;
    throw fileFault(name, error);
  }
}
