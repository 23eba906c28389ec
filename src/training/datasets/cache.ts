/** What was unpacked or decoded once, under `<dataDir>/cache/datasets`, so that no training has to do it again. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryName } from '../../model/temporary.js';

const DIGITS = 16;

export class DatasetCache {
  readonly #root: string;
  readonly #name: string;

  /** @param name of the data set */
  constructor(dataDir: string, name: string) {
    this.#root = cacheRoot(dataDir);
    this.#name = name;
  }

  /**
   * A folder `<name>~<content>~<form>`, made once; from the moment it has this name it is whole. Those of other content are
   * removed: the data set has changed.
   * @param content what is to be told from what came before: names, sizes, times
   * @param form what it becomes: the same content may be there in several forms
   * @param build fills the folder that it is given
   */
  async folder(content: unknown, form: unknown, build: (folder: string) => Promise<void>): Promise<string> {
    const kept = `${this.#name}~${digest(content)}~`;
    const folder = join(this.#root, `${kept}${digest(form)}`);
    if (existsSync(folder)) return folder;
    await mkdir(this.#root, { recursive: true });
    const temporary = join(this.#root, temporaryName());
    await mkdir(temporary);
    try {
      await build(temporary);
      await rename(temporary, folder).catch((error: unknown) => {
        // Another process was first: what it made is the same.
        if (!existsSync(folder)) throw error;
      });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    await this.#remove((name) => !name.startsWith(kept));
    return folder;
  }

  /** Forgets all of the data set. */
  clear(): Promise<void> {
    return this.#remove(() => true);
  }

  async #remove(which: (name: string) => boolean): Promise<void> {
    const names = await readdir(this.#root).catch(() => []);
    for (const name of names) {
      if (!name.startsWith(`${this.#name}~`) || !which(name)) continue;
      await rm(join(this.#root, name), { recursive: true, force: true });
    }
  }
}

export function cacheRoot(dataDir: string): string {
  return join(dataDir, 'cache', 'datasets');
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, DIGITS);
}
