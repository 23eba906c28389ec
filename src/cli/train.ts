/** `npm run train -- --model NAME …`: trains here and now, and writes a version to be shipped. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readConfig } from '../config.js';
import { parseTrainRequest } from '../jobs/validation.js';
import { ModelStore } from '../model/store.js';
import { ARCHITECTURES } from '../training/architectures/table.js';
import { isForeign, removeCheckpoint } from '../training/checkpoint.js';
import { DATASETS, datasetNames } from '../training/datasets/table.js';
import { REGULARIZER_KINDS, type TrainRequest } from '../training/request.js';
import { startingPoint } from '../training/starting-point.js';
import { train } from '../training/trainer.js';
import {
  backendFlag,
  booleanFlag,
  type Flag,
  numberFlag,
  readCommandLine,
  runCommand,
  UsageError,
  usage,
} from './command-line.js';
import { commit, invocation, withoutPlaces } from './commit.js';
import { precisionTable } from './precision-table.js';
import { ProgressLines } from './progress-lines.js';

const FLAGS: Record<string, Flag> = {
  model: { type: 'string', value: 'name', meaning: 'name of the model that gets the version (needed)' },
  dataset: {
    type: 'string',
    value: 'name',
    meaning: `${Object.keys(DATASETS).join(', ')}, or a folder in DATA_DIR/datasets`,
  },
  architecture: {
    type: 'string',
    value: 'name',
    meaning: `one of ${Object.keys(ARCHITECTURES).join(', ')}, or a .json file with a TF.js Layers topology`,
  },
  width: { type: 'string', value: 'x', meaning: 'factor on the channels of a built-in architecture' },
  from: { type: 'string', value: 'N', meaning: 'begin from this version of the model, or from its "current" one' },
  epochs: { type: 'string', value: 'N', meaning: 'times that every example is seen' },
  'batch-size': { type: 'string', value: 'N', meaning: 'examples of a step' },
  'learning-rate': { type: 'string', value: 'x', meaning: 'at the peak of its schedule' },
  optimizer: { type: 'string', value: 'kind', meaning: 'adam or sgd' },
  momentum: { type: 'string', value: 'x', meaning: "Nesterov's, of sgd" },
  'weight-decay': { type: 'string', value: 'x', meaning: 'of kernels' },
  schedule: { type: 'string', value: 'kind', meaning: 'of the learning rate: cosine or one-cycle' },
  'label-smoothing': {
    type: 'string',
    value: 'x',
    meaning: 'share of the target that all classes have in equal parts',
  },
  'image-size': { type: 'string', value: 'N', meaning: "side of an image folder's images, in pixels" },
  shift: { type: 'string', value: 'N', meaning: 'pixels that images are moved by at most; 0 moves none' },
  flip: { type: 'string', value: 'bool', meaning: 'whether images are mirrored at random: true or false' },
  'class-weights': {
    type: 'string',
    value: 'w',
    meaning: 'balanced, none, or JSON: {"label": weight}; how much examples count',
  },
  'validation-share': { type: 'string', value: 'x', meaning: 'of the training examples, for choices' },
  seed: { type: 'string', value: 'N', meaning: 'of first weights, order, augmentation and dropout' },
  limit: { type: 'string', value: 'N', meaning: 'at most so many training examples' },
  regularizer: {
    type: 'string',
    value: 'kind',
    meaning: `none, or of ${REGULARIZER_KINDS.join(', ')}, with commas between`,
  },
  'lambda-weights': { type: 'string', value: 'x', meaning: 'strength for the weights' },
  'lambda-activations': { type: 'string', value: 'x', meaning: 'strength for the activations' },
  'ratio-weights': { type: 'string', value: 'x', meaning: 'in the place of lambda-weights: what λ‖g‖₁/CE is to be' },
  'ratio-activations': { type: 'string', value: 'x', meaning: 'the same for the activations' },
  form: { type: 'string', value: 'name', meaning: 'of gradient-l1: finite-difference or sam' },
  'sam-radius': { type: 'string', value: 'x', meaning: 'of sam: share of half a quantisation step' },
  'sam-bits': { type: 'string', value: 'N', meaning: 'of sam: width of that step' },
  'lambda-kurtosis': { type: 'string', value: 'x', meaning: 'strength of kurtosis' },
  widths: { type: 'string', value: 'N,N', meaning: 'of any-width: what steps draw from; 32 is a float step' },
  'qat-bits': { type: 'string', value: 'N', meaning: 'of qat: the one width' },
  'start-epoch': { type: 'string', value: 'N', meaning: 'first epoch in which the regulariser acts' },
  'fold-batch-norm': { type: 'string', value: 'true', meaning: 'or false: train the net that serving quantises' },
  'weight-averaging': { type: 'string', value: 'x', meaning: 'decay of the moving average that becomes the version' },
  checkpoint: {
    type: 'string',
    value: 'file',
    meaning: 'holds the training after every epoch; the same command goes on from it after a kill',
  },
  backend: { type: 'string', value: 'name', meaning: 'auto, wasm or tensorflow; auto takes tensorflow where it loads' },
  out: { type: 'string', value: 'folder', meaning: 'models folder to write to; default models' },
  'allow-dirty': { type: 'boolean', meaning: 'train although files differ from the commit that is recorded' },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run train -- --model name [flags]', FLAGS);
type Values = Record<string, string | boolean | undefined>;

await runCommand(HELP, async () => {
  const args = process.argv.slice(2);
  const { values } = readCommandLine(args, FLAGS, { least: 0, most: 0 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (values.model === undefined) throw new UsageError('--model: expected the name of a model, got nothing');
  const { dataDir, maxImagePixels, maxDatasetBytes } = readConfig();
  const request = requestOf(values, await datasetNames(dataDir));
  const options = {
    command: invocation('train', withoutPlaces(args, ['--out', '--checkpoint'])),
    commit: commit(values['allow-dirty'] === true),
    backend: backendFlag(values),
    checkpoint: await checkpoint(values),
    dataDir,
    maxImagePixels,
    maxDatasetBytes,
  };
  const out = resolve(String(values.out ?? 'models'));
  const store = new ModelStore({ modelsDir: out, writeTo: 'models' });
  const progress = new ProgressLines();
  const result = await train(request, progress, await startingPoint(store, request), options);
  const version = await store.publish(result.version, { makeCurrent: true });
  if (options.checkpoint !== undefined) await removeCheckpoint(options.checkpoint);
  console.log(precisionTable(version.manifest));
  console.log(`${version.model} version ${version.version}, ${version.folder}`);
});

/** The request, checked by the same rules as the body of `POST /admin/train`. */
function requestOf(values: Values, datasets: string[]): TrainRequest {
  const from = values.from === undefined || values.from === 'current' ? values.from : numberFlag(values, 'from');
  const body = defined({
    model: values.model,
    dataset: values.dataset,
    architecture: architecture(values.architecture),
    width: numberFlag(values, 'width'),
    from,
    epochs: numberFlag(values, 'epochs'),
    batch_size: numberFlag(values, 'batch-size'),
    learning_rate: numberFlag(values, 'learning-rate'),
    optimizer: defined({
      kind: values.optimizer,
      momentum: numberFlag(values, 'momentum'),
      weight_decay: numberFlag(values, 'weight-decay'),
    }),
    schedule: values.schedule,
    label_smoothing: numberFlag(values, 'label-smoothing'),
    image_size: numberFlag(values, 'image-size'),
    augmentation: defined({ shift: numberFlag(values, 'shift'), flip: booleanFlag(values, 'flip') }),
    class_weights: classWeights(values['class-weights']),
    validation_share: numberFlag(values, 'validation-share'),
    seed: numberFlag(values, 'seed'),
    limit: numberFlag(values, 'limit'),
    regularizer: defined({
      kind: kinds(values.regularizer),
      lambda_weights: numberFlag(values, 'lambda-weights'),
      lambda_activations: numberFlag(values, 'lambda-activations'),
      ratio_weights: numberFlag(values, 'ratio-weights'),
      ratio_activations: numberFlag(values, 'ratio-activations'),
      form: values.form,
      sam_radius: numberFlag(values, 'sam-radius'),
      sam_bits: numberFlag(values, 'sam-bits'),
      lambda_kurtosis: numberFlag(values, 'lambda-kurtosis'),
      widths: typeof values.widths === 'string' ? values.widths.split(',').map(Number) : undefined,
      qat_bits: numberFlag(values, 'qat-bits'),
      start_epoch: numberFlag(values, 'start-epoch'),
    }),
    fold_batch_norm: booleanFlag(values, 'fold-batch-norm'),
    weight_averaging: numberFlag(values, 'weight-averaging'),
  });
  try {
    return parseTrainRequest(body, { architectures: Object.keys(ARCHITECTURES), datasets });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function kinds(value: string | boolean | undefined): unknown {
  return typeof value === 'string' && value.includes(',') ? value.split(',') : value;
}

function classWeights(value: string | boolean | undefined): unknown {
  if (typeof value !== 'string' || !value.startsWith('{')) return value;
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new UsageError(`--class-weights: ${(error as Error).message}`);
  }
}

function architecture(value: string | boolean | undefined): unknown {
  if (typeof value !== 'string' || !value.endsWith('.json')) return value;
  try {
    return JSON.parse(readFileSync(value, 'utf8'));
  } catch (error) {
    throw new UsageError(`--architecture: ${value}: ${(error as Error).message}`);
  }
}

/** A file that is there and none of ours is more likely a slip than to be written over. */
async function checkpoint({ checkpoint }: Values): Promise<string | undefined> {
  if (typeof checkpoint !== 'string') return undefined;
  const path = resolve(checkpoint);
  if (!existsSync(dirname(path)))
    throw new UsageError(`--checkpoint: expected a folder that is there, got ${checkpoint}`);
  if (await isForeign(path)) throw new UsageError(`--checkpoint: expected a checkpoint or no file, got ${checkpoint}`);
  return path;
}

function defined(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
