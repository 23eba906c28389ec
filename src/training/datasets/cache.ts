/** What was unpacked or decoded once, under `<dataDir>/cache/datasets`, so that no training has to do it again. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { temporaryName } from '../../model/temporary.js';

const DIGITS = 16;
const ITEMS_A_TURN = 500;

export class DatasetCache {
  readonly #root: string;
  readonly #name: string;
  readonly #isStaged: boolean;
  /** Beginning of the names of the content that was asked for, and the folders that were made. */
  #kept: string | null = null;
  readonly #made: string[] = [];

  /**
   * @param name of the data set
   * @param isStaged the content is to replace what has the name, and may not come to it: what is there of other content
   *   stays until {@link settle}
   */
  constructor(dataDir: string, name: string, { isStaged = false } = {}) {
    this.#root = cacheRoot(dataDir);
    this.#name = name;
    this.#isStaged = isStaged;
  }

  /**
   * A folder `<name>~<content>~<form>`, made once; from the moment it has this name it is whole. Those of other content are
   * removed: the data set has changed.
   * @param content what is to be told from what came before, file by file: names, sizes, times
   * @param form what it becomes: the same content may be there in several forms
   * @param build fills the folder that it is given
   */
  async folder(content: readonly unknown[], form: unknown, build: (folder: string) => Promise<void>): Promise<string> {
    const kept = `${this.#name}~${await digest(content)}~`;
    const folder = join(this.#root, `${kept}${await digest([form])}`);
    this.#kept = kept;
    if (existsSync(folder)) return folder;
    await mkdir(this.#root, { recursive: true });
    const temporary = join(this.#root, temporaryName());
    await mkdir(temporary);
    try {
      await build(temporary);
      await rename(temporary, folder)
        .then(() => this.#made.push(folder))
        .catch((error: unknown) => {
          // Another process was first: what it made is the same.
          if (!existsSync(folder)) throw error;
        });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    if (!this.#isStaged) await this.settle();
    return folder;
  }

  /** Forgets what is of other content than was asked for. */
  settle(): Promise<void> {
    return this.#remove((name) => this.#kept === null || !name.startsWith(this.#kept));
  }

  /** Forgets what was made here. */
  async discard(): Promise<void> {
    for (const folder of this.#made.splice(0)) await rm(folder, { recursive: true, force: true });
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

/** Item by item: of a hundred thousand files the event loop turns meanwhile. */
async function digest(items: readonly unknown[]): Promise<string> {
  const hash = createHash('sha256');
  for (const [i, item] of items.entries()) {
    hash.update(JSON.stringify(item));
    if (i % ITEMS_A_TURN === ITEMS_A_TURN - 1) await setImmediate();
  }
  return hash.digest('hex').slice(0, DIGITS);
}
