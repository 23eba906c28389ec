/** `npm run reproduce -- cifar10 --net resnet-20 --seeds 2`: every method, trained and measured; the tables of docs/RESULTS.md. */
import { writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { PROJECT_ROOT, readConfig } from '../config.js';
import { NativeEngine } from '../engine/native.js';
import { accuracyChart } from '../reproduction/chart.js';
import { completeStudies, writeDocs } from '../reproduction/docs.js';
import { givenBase } from '../reproduction/given-base.js';
import { laboratory, modelsFolder } from '../reproduction/laboratory.js';
import { METHOD_NAMES } from '../reproduction/methods.js';
import { Records, type RunRecord } from '../reproduction/record.js';
import { runStudy, type StudyHooks } from '../reproduction/runner.js';
import { checkStudy, type GivenBase, type Run, type Study } from '../reproduction/study.js';
import { studySection } from '../reproduction/tables.js';
import { ARCHITECTURES } from '../training/architectures/table.js';
import { DATASETS } from '../training/datasets/table.js';
import {
  backendFlag,
  type Flag,
  numberFlag,
  readCommandLine,
  runCommand,
  UsageError,
  usage,
  wholeFlag,
} from './command-line.js';
import { commit, invocation } from './commit.js';
import { ProgressLines } from './progress-lines.js';

const DEFAULTS = { net: 'resnet-20', seeds: 2, baseEpochs: 30, epochs: 6 };
const FLAGS: Record<string, Flag> = {
  net: { type: 'string', value: 'name', meaning: `one of ${Object.keys(ARCHITECTURES).join(', ')}; default resnet-20` },
  width: { type: 'string', value: 'x', meaning: 'factor on its channels; default 1' },
  seeds: { type: 'string', value: 'N', meaning: `seeds 1 to N; default ${DEFAULTS.seeds}` },
  methods: { type: 'string', value: 'a,b', meaning: `of ${METHOD_NAMES.join(', ')}; default all` },
  'base-epochs': {
    type: 'string',
    value: 'N',
    meaning: `of the plain base that a seed's methods go on from; default ${DEFAULTS.baseEpochs}`,
  },
  epochs: { type: 'string', value: 'N', meaning: `of each method after it, plain too; default ${DEFAULTS.epochs}` },
  'from-scratch': { type: 'boolean', meaning: 'no base: each method trains for all of --base-epochs' },
  base: { type: 'string', value: 'folder', meaning: 'of a model with a version that is the base of every seed' },
  'base-version': { type: 'string', value: 'N', meaning: 'of that model; default its current one' },
  limit: { type: 'string', value: 'N', meaning: 'at most so many training images, to try it out' },
  'test-limit': { type: 'string', value: 'N', meaning: 'at most so many test images, to try it out' },
  out: { type: 'string', value: 'folder', meaning: 'of records and versions; default in DATA_DIR/reproduction' },
  backend: { type: 'string', value: 'name', meaning: 'auto, wasm or tensorflow; auto takes tensorflow where it loads' },
  report: { type: 'boolean', meaning: 'no training: the tables of what is there' },
  'allow-dirty': { type: 'boolean', meaning: 'train although files differ from the commit that is recorded' },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = `${usage('npm run reproduce -- cifar10 [flags]', FLAGS)}

Each finished training is a record in the folder at once; the same command goes on with what is missing. With all images of cifar10
and without --out it then writes docs/RESULTS.md and docs/cifar10-accuracy.svg; report.md and accuracy.svg are always in the folder.`;
type Values = Record<string, string | boolean | undefined>;

await runCommand(HELP, async () => {
  const args = process.argv.slice(2);
  const { values, positionals } = readCommandLine(args, FLAGS, { least: 1, most: 1 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const dataDir = resolve(readConfig().dataDir);
  const study = studyOf(positionals[0], values, dataDir);
  // A report needs no base.
  if (typeof values.base === 'string' && !values.report) study.base = await baseOf(values.base, values, study);
  if (values['base-version'] !== undefined && values.base === undefined) {
    throw new UsageError('--base-version: expected --base beside it, the folder of its model');
  }
  const backend = backendFlag(values);
  try {
    checkStudy(study);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (!values.report) {
    const provenance = {
      commit: commit(values['allow-dirty'] === true),
      reproduction: invocation('reproduce', args.map(portable(values, dataDir))),
      models: commandPath(modelsFolder(study), dataDir),
    };
    await warnOfReferenceEngine();
    const execute = laboratory(study, { ...provenance, backend, hooks: new ProgressLines(), threads: 0 });
    const { failures } = await runStudy(study, execute, provenance, lines());
    if (failures.length > 0) process.exitCode = 1;
  }
  await report(study, values, dataDir);
});

function studyOf(dataset: string, values: Values, dataDir: string): Study {
  const among = (flag: string, value: string, known: readonly string[]) => {
    if (!known.includes(value)) {
      throw new UsageError(`${flag}: expected one of ${known.join(', ')}, got ${JSON.stringify(value)}`);
    }
    return value;
  };
  among('data set', dataset, Object.keys(DATASETS));
  const net = among('--net', String(values.net ?? DEFAULTS.net), Object.keys(ARCHITECTURES));
  const methods = typeof values.methods === 'string' ? [...new Set(values.methods.split(','))] : METHOD_NAMES;
  for (const method of methods) among('--methods', method, METHOD_NAMES);
  const mode = values['from-scratch'] ? 'from-scratch' : 'fine-tuned';
  for (const flag of ['base', 'epochs']) {
    if (mode === 'from-scratch' && values[flag] !== undefined) {
      throw new UsageError(`--${flag}: expected nothing beside --from-scratch, which has no base to go on from`);
    }
  }
  if (values.base !== undefined && values['base-epochs'] !== undefined) {
    throw new UsageError('--base-epochs: expected nothing beside --base, which is trained already');
  }
  const width = numberFlag(values, 'width') ?? 1;
  const limit = wholeFlag(values, 'limit') ?? null;
  const testLimit = wholeFlag(values, 'test-limit') ?? null;
  const cut = `${limit === null ? '' : `-limit${limit}`}${testLimit === null ? '' : `-test${testLimit}`}`;
  const place = [dataset, width === 1 ? net : `${net}-width${width}`, `${mode}${cut}`];
  return {
    dataset,
    net,
    width,
    mode,
    seeds: Array.from({ length: wholeFlag(values, 'seeds') ?? DEFAULTS.seeds }, (_, i) => i + 1),
    methods: [...methods],
    baseEpochs: wholeFlag(values, 'base-epochs') ?? DEFAULTS.baseEpochs,
    epochs: wholeFlag(values, 'epochs') ?? DEFAULTS.epochs,
    limit,
    testLimit,
    base: null,
    folder: resolve(typeof values.out === 'string' ? values.out : join(dataDir, 'reproduction', ...place)),
  };
}

async function warnOfReferenceEngine(): Promise<void> {
  try {
    await (await NativeEngine.create({ threads: 1 })).close();
  } catch (error) {
    console.warn(
      `measuring will take long: ${(error as Error).message}; npm run build:native builds the native engine`,
    );
  }
}

async function baseOf(folder: string, values: Values, study: Study): Promise<GivenBase> {
  const number = wholeFlag(values, 'base-version');
  try {
    return await givenBase(folder, study, number);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Makes of a word that is a folder's path the same path as it is from the project's folder. */
function portable(values: Values, dataDir: string): (word: string) => string {
  return (word) => {
    for (const flag of ['base', 'out']) {
      const folder = values[flag];
      if (typeof folder !== 'string') continue;
      const path = commandPath(resolve(folder), dataDir);
      if (word === folder) return path;
      if (word === `--${flag}=${folder}`) return `--${flag}=${path}`;
    }
    return word;
  };
}

/** A folder as a command from the project's would name it, DATA_DIR being its default. */
function commandPath(folder: string, dataDir: string): string {
  const inside = relative(dataDir, folder);
  return inside.startsWith('..') ? relative(process.cwd(), folder) : join('data', inside);
}

async function report(study: Study, values: Values, dataDir: string): Promise<void> {
  const records = await new Records(study.folder).all();
  if (records.length === 0) {
    console.log(`no records in ${study.folder}`);
    return;
  }
  const text = studySection(records);
  console.log(`\n${text}\n`);
  await writeFile(join(study.folder, 'report.md'), `${text}\n`);
  await writeFile(join(study.folder, 'accuracy.svg'), accuracyChart([records]));
  console.log(`records, report.md and accuracy.svg: ${study.folder}`);
  const whole = study.limit === null && study.testLimit === null;
  if (study.dataset !== 'cifar10' || !whole || values.out !== undefined) return;
  await writeDocs(join(PROJECT_ROOT, 'docs'), await completeStudies(join(dataDir, 'reproduction', 'cifar10')));
  console.log('docs/RESULTS.md and docs/cifar10-accuracy.svg are written');
}

function lines(): StudyHooks {
  const name = ({ seed, method }: Pick<Run, 'seed' | 'method'>) => `seed ${seed}, ${method}`;
  return {
    onBegin: (run) => console.log(`${name(run)}: begins (${run.epochs} epochs)`),
    onFailure: (run, error) => console.error(`${name(run)}: failed: ${error.message}`),
    onDone: (record, found) => console.log(`${name(record)}: ${found ? 'there already' : 'done'}, ${figures(record)}`),
  };
}

function figures({ accuracies }: RunRecord): string {
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const { ours, 'min-max': minMax } = accuracies;
  return `float ${percent(ours['32x32'])}, 4×4 ${percent(ours['4x4'])}, per-tensor min-max ${percent(minMax['4x4'])}`;
}
