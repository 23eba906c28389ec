/** From a request to a version: begin, fit, calibrate, appraise. */
import { calibrate } from '../engine/calibration.js';
import type { TrainingRecord } from '../model/manifest.js';
import { readEnergyTable } from '../quantize/energy.js';
import { type BackendName, loadBackend } from '../tensorflow/backend.js';
import { appraise } from './appraisal.js';
import { commandOf } from './command.js';
import { openData, type TrainingData } from './data.js';
import type { Split } from './datasets/dataset.js';
import { skippedText } from './datasets/skipped.js';
import { type FitHooks, type Fitted, fit } from './fit.js';
import { ProgressReport } from './report.js';
import type { StartingPoint, TrainingHooks, TrainingResult, TrainRequest } from './request.js';
import { NO_REGULARIZER, RECIPE_DEFAULTS, TrainingCancelled } from './request.js';
import { beginning } from './start.js';
import { checkRequest } from './validation.js';

export interface TrainingOptions {
  /** For the record; by default the `npm run train` command that asks for the same. */
  command?: string;
  /** Of this project, for the record. */
  commit?: string | null;
  backend?: BackendName | 'auto';
  /** Of the addon's kernels on wasm; 0: one for each core. */
  threads?: number;
  /** At most so many images in each evaluation; the precision table says how many. By default all of the test set. */
  evaluationLimit?: number;
  /** File with the energy figures; by default the built-in ones. */
  energyTable?: string;
  /** File that holds the training after every epoch, and that it goes on from where it fits; the caller removes it. */
  checkpoint?: string;
  /** Its folder `datasets` holds data sets by name; by default DATA_DIR. */
  dataDir?: string;
  /** Pixels of an image file at most. */
  maxImagePixels?: number;
  /** Bytes at most that unpacked or decoded data may take on disk. */
  maxDatasetBytes?: number;
}

/** Training images that the activation ranges come from. */
const CALIBRATION_IMAGES = 1000;
const CALIBRATION_BATCH = 100;

/**
 * @param start weights to go on from; from scratch without
 * @throws TrainingCancelled within one step of `hooks.isCancelled()` saying so; ServiceError for a request that cannot
 *   be met; Error where the loss is no longer finite
 */
export async function train(
  asked: TrainRequest,
  hooks: TrainingHooks,
  start?: StartingPoint,
  options: TrainingOptions = {},
): Promise<TrainingResult> {
  const request = { ...RECIPE_DEFAULTS, ...asked, regularizer: { ...NO_REGULARIZER, ...asked.regularizer } };
  checkRequest(request);
  const report = new ProgressReport(hooks, request.epochs);
  const dataset = await openData(request, start, {
    dataDir: options.dataDir,
    maxImagePixels: options.maxImagePixels,
    maxBytes: options.maxDatasetBytes,
    onProgress: (done, total) => report.preparing(done, total),
    isCancelled: () => hooks.isCancelled(),
  });
  try {
    report.prepared(dataset.skipped);
    if (dataset.skipped !== null) hooks.onNotice?.('warn', skippedText(dataset.skipped));
    return await trainOn(dataset, request, hooks, report, start, options);
  } finally {
    dataset.close();
  }
}

async function trainOn(
  dataset: TrainingData,
  request: TrainRequest,
  hooks: TrainingHooks,
  report: ProgressReport,
  start: StartingPoint | undefined,
  options: TrainingOptions,
): Promise<TrainingResult> {
  const { topology, graph, weights: first } = beginning(request, dataset, start);
  const backend = await loadBackend(options.backend, { threads: options.threads });
  hooks.onBackend?.(backend.label);

  const following: FitHooks = {
    onStep: (progress) => report.step(progress),
    onCheckpoint: () => hooks.onCheckpoint?.(report.last),
    onNotice: (level, text) => hooks.onNotice?.(level, text),
    isCancelled: () => hooks.isCancelled(),
  };
  const { checkpoint: path } = options;
  const checkpoint = path === undefined ? path : { path, backend: backend.label, commit: options.commit };
  const fitted = await fit(graph, first, dataset, request, following, checkpoint);
  const { weights } = fitted;

  report.phase('calibrating');
  const { input } = dataset;
  const images = await calibrationImages(dataset.train, Math.min(CALIBRATION_IMAGES, fitted.examples), hooks);
  const ranges = calibrate(graph, weights, input, images, () => {
    if (hooks.isCancelled()) throw new TrainingCancelled();
  });
  const { candidate, precisions, default_precision } = await appraise(
    { graph, weights, manifest: { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } } },
    dataset,
    {
      energyTable: readEnergyTable(options.energyTable),
      limit: options.evaluationLimit,
      isCancelled: () => hooks.isCancelled(),
      onProgress: (done) => report.evaluated(done),
    },
  );

  const training = record(request, dataset, fitted, backend.label, start, options);
  const manifest = {
    model: request.model,
    ...candidate.manifest,
    labels: dataset.labels,
    default_precision,
    precisions,
    training,
  };
  const accuracies = Object.fromEntries(Object.entries(precisions).map(([key, { accuracy }]) => [key, accuracy]));
  const version = { manifest, topology, weights, corrections: candidate.corrections };
  return { version, accuracies, backend: backend.label };
}

async function calibrationImages(split: Split, count: number, hooks: TrainingHooks) {
  const batches: { input: Float32Array; batch: number }[] = [];
  for (let from = 0; from < count; from += CALIBRATION_BATCH) {
    if (hooks.isCancelled()) throw new TrainingCancelled();
    const batch = Math.min(CALIBRATION_BATCH, count - from);
    const { input } = await split.batch(Uint32Array.from({ length: batch }, (_, i) => from + i));
    batches.push({ input, batch });
  }
  return batches;
}

function record(
  request: TrainRequest,
  { augmentation, skipped, validationShare }: TrainingData,
  fitted: Fitted,
  backend: string,
  start: StartingPoint | undefined,
  options: TrainingOptions,
): TrainingRecord {
  const { seed, architecture, dataset, epochs, batch_size, learning_rate, regularizer } = request;
  const { optimizer, schedule, label_smoothing, fold_batch_norm, weight_averaging, width } = request;
  return {
    command: options.command ?? commandOf(request),
    commit: options.commit ?? null,
    seed,
    architecture: typeof architecture === 'string' ? architecture : 'topology',
    width,
    dataset,
    examples: fitted.examples,
    ...(validationShare !== null && { validation_share: validationShare }),
    epochs,
    batch_size,
    learning_rate,
    optimizer: { ...optimizer },
    schedule,
    label_smoothing,
    augmentation: { ...augmentation },
    class_weights: request.class_weights,
    ...(skipped && { skipped }),
    fold_batch_norm,
    weight_averaging,
    regularizer: { ...regularizer },
    backend,
    duration_s: Math.round(fitted.seconds * 10) / 10,
    history: fitted.history,
    from: start?.digest ?? null,
  };
}
