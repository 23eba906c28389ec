import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises';
import { createServer, connect as netConnect, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PREFIX = 'lock-';
const VISIBLE = '.sock';
const HIDDEN = '.new';
/** A socket address holds about 104 bytes on the systems that we know. */
const LONGEST_ADDRESS = 100;
const TRIES = 40;
const ANSWER_MS = 1000;

type Verdict = 'holder' | 'candidate' | 'dead';

/**
 * One process at a time may use a folder. The proof of life is a listening socket in the folder: the kernel closes it
 * with its process, however that ended, and it is seen from other containers on the same host, where process ids say
 * nothing (1 before the restart and 1 after it).
 *
 * Every candidate listens under a random name of its own, shows it, and only then looks at the others: of two that begin
 * at once, at least one sees the other and steps back. As names are never used twice, a dead one is removed without
 * any danger of removing a living one.
 */
export class FolderLock {
  readonly #server: Server;
  readonly #path: string;
  readonly #folderHandle: FileHandle;
  #held = false;

  private constructor(server: Server, path: string, folderHandle: FileHandle) {
    this.#server = server;
    this.#path = path;
    this.#folderHandle = folderHandle;
  }

  /** Throws where another live process holds the folder. */
  static async acquire(folder: string): Promise<FolderLock> {
    for (let i = 0; i < TRIES; i++) {
      const lock = await FolderLock.#show(folder);
      const verdict = lock === null ? 'candidate' : await lock.#lookAround(folder);
      if (lock !== null && verdict === 'dead') {
        lock.#held = true;
        return lock;
      }
      await lock?.release();
      if (verdict === 'holder') break;
      await sleep(10 + Math.random() * 15 * (i + 1));
    }
    throw new Error(
      `${folder} is in use by another process; give each process a DATA_DIR of its own, or all a REDIS_URL`,
    );
  }

  private get role(): Verdict {
    return this.#held ? 'holder' : 'candidate';
  }

  async release(): Promise<void> {
    await unlink(this.#path).catch(() => undefined);
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#folderHandle.close();
  }

  /** Listens first, then takes the name that others look for: whoever sees the name finds it alive. */
  static async #show(folder: string): Promise<FolderLock | null> {
    const name = PREFIX + randomBytes(8).toString('hex');
    const folderHandle = await open(folder, 'r');
    let lock: FolderLock | null = null;
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(lock?.role ?? 'candidate');
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(address(folder, name + HIDDEN, folderHandle), resolve);
      });
    } catch (error) {
      await folderHandle.close();
      throw new Error(`${folder} does not take the socket of its lock; put DATA_DIR on a local file system`, {
        cause: error,
      });
    }
    server.on('error', () => undefined);
    server.unref();
    lock = new FolderLock(server, join(folder, name + VISIBLE), folderHandle);
    try {
      // Any user may ask whether we live; the folder's own mode says who gets that far.
      await chmod(join(folder, name + HIDDEN), 0o666);
      await rename(join(folder, name + HIDDEN), join(folder, name + VISIBLE));
      return lock;
    } catch (error) {
      await lock.release();
      // Someone who became holder swept it away.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** What the liveliest of the others is; removes the dead. */
  async #lookAround(folder: string): Promise<Verdict> {
    const names = (await readdir(folder)).filter((n) => n.startsWith(PREFIX) && join(folder, n) !== this.#path);
    const visible = names.filter((n) => n.endsWith(VISIBLE));
    const verdicts = await Promise.all(visible.map((n) => probe(address(folder, n, this.#folderHandle))));
    const dead = visible.filter((_n, i) => verdicts[i] === 'dead');
    const alive = verdicts.find((v) => v === 'holder') ?? verdicts.find((v) => v === 'candidate');
    const swept = alive === undefined ? [...dead, ...names.filter((n) => n.endsWith(HIDDEN))] : dead;
    for (const name of swept) await unlink(join(folder, name)).catch(() => undefined);
    return alive ?? 'dead';
  }
}

/** Connected but silent is a holder whose event loop is busy. */
function probe(path: string): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const socket = netConnect(path);
    socket.setTimeout(ANSWER_MS, () => settle('holder'));
    let text = '';
    const settle = (verdict: Verdict): void => {
      socket.destroy();
      resolve(verdict);
    };
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('end', () => settle(text === 'candidate' ? 'candidate' : 'holder'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') settle('dead');
      else if (error.code === 'EAGAIN' || error.code === 'ECONNRESET' || error.code === 'EPIPE') settle('candidate');
      else reject(error);
    });
  });
}

/** A name for the socket that fits: through the folder's handle where the path is too long for an address. */
function address(folder: string, name: string, handle: FileHandle): string {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= LONGEST_ADDRESS || process.platform !== 'linux') return path;
  return `/proc/self/fd/${handle.fd}/${name}`;
}
