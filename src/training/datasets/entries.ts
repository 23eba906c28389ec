import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

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
 */
export async function entriesOf(folder: string): Promise<Entry[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.') && !LITTER.includes(name)).sort();
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
    // A link to nothing, or a file that has just been removed.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
