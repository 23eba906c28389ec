import { ServiceError } from '../errors.js';
import { Fields } from './fields.js';
import {
  checkBiasCorrections,
  checkImport,
  checkInputSpec,
  checkLabels,
  checkPrecisions,
  checkQuantizer,
  checkRanges,
  checkTraining,
  DIGEST,
  MODEL_NAME,
  matching,
  PRECISION_KEY,
} from './manifest-check.js';

/**
 * Parses the text of a `manifest.json`. Fields that this version does not know are kept.
 * @throws ServiceError `bad_model` naming the field, what was expected and what came
 */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ServiceError('bad_model', `manifest.json: expected JSON, got ${(error as Error).message}`);
  }
  const manifest = new Fields(value, 'manifest.json');
  manifest.choice('format', ['bitdial/1']);
  matching(manifest, 'model', MODEL_NAME, 'a model name: a-z, 0-9, "." (never two), "_", "-", at most 64');
  matching(manifest, 'created', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, 'an ISO 8601 time in UTC');
  const files = manifest.fields('files');
  for (const file of ['model.json', 'weights.bin']) matching(files, file, DIGEST, 'a SHA-256 in hex');
  // Both or neither.
  const corrected = manifest.fields('quantizer').get('bias_corrections') !== undefined;
  if (corrected || files.get('corrections.bin') !== undefined) {
    matching(files, 'corrections.bin', DIGEST, 'a SHA-256 in hex');
    checkBiasCorrections(manifest.fields('quantizer').fields('bias_corrections'));
  }
  checkInputSpec(manifest.fields('input'));
  checkLabels(manifest);
  checkRanges(manifest);
  checkQuantizer(manifest.fields('quantizer'));
  matching(manifest, 'default_precision', PRECISION_KEY, 'a precision WxA such as 4x8');
  checkPrecisions(manifest);
  if (manifest.get('imported') !== undefined) checkImport(manifest.fields('imported'));
  if (manifest.get('training') !== undefined) checkTraining(manifest.fields('training'));
  return { ...(value as Manifest), training: (value as Manifest).training ?? null };
}

/** What a version says of itself; `manifest.json` in its folder. The version's digest is the SHA-256 of this file's bytes. */
export interface Manifest {
  format: 'bitdial/1';
  model: string;
  /** ISO 8601. */
  created: string;
  /** SHA-256, hex, of the files beside the manifest. */
  files: { 'model.json': string; 'weights.bin': string; 'corrections.bin'?: string };
  input: InputSpec;
  /** One per class, in the order of the logits. */
  labels: string[];
  /** By tensor name; see {@link ActivationRange}. */
  ranges: Record<string, ActivationRange>;
  quantizer: QuantizerChoices;
  /** Precision of a request that names none. */
  default_precision: string;
  /** By precision key (`4x8`). */
  precisions: Record<string, PrecisionRecord>;
  /** How it was imported; absent for a version that was trained here. */
  imported?: ImportRecord;
  /** How the weights came about; null for an imported model. */
  training: TrainingRecord | null;
}

/** How an image becomes the tensor that the model takes. */
export interface InputSpec {
  /** [height, width, channels]; 1 channel is grey, 3 is RGB. */
  shape: [number, number, number];
  /** What pixel values 0 and 255 become: x = low + p/255·(high − low). Numbers in a request are in this range. */
  range: [number, number];
  /** What 0 and 255 become channel by channel, where channels differ; `range` holds them all. */
  channel_ranges?: [number, number][];
  /** Where the model takes the channels of an image in another order than RGB. */
  channel_order?: 'bgr';
  /** How an image of another size is fitted: stretched, or cropped to cover, or letter-boxed in black. */
  resize: 'fill' | 'cover' | 'contain';
}

/** Of one tensor over the calibration images (never test images). */
export interface ActivationRange {
  min: number;
  max: number;
  /** [low, high] of the least squared error at 2..8 bits; low is 0 where the tensor cannot be negative. */
  clip: Record<string, [number, number]>;
}

/** How the range of a weight channel is chosen. */
export type ClipRule = 'min-max' | 'squared-error' | 'p-2.4';

/** What quantising must know beyond the weights and ranges; chosen when the version is made, never from test images. */
export interface QuantizerChoices {
  /** By precision key; absent: squared-error. */
  clip_rules: Record<string, ClipRule>;
  /**
   * By precision key: what the clips of the activation ranges are multiplied by, never past the extremes; absent: 1.
   * Versions that were made before there was a choice have none.
   */
  range_factors?: Record<string, number>;
  /** Where `corrections.bin` has the corrections of biases; absent where it has none. */
  bias_corrections?: BiasCorrectionIndex;
  /** What decided; absent where nothing was chosen. */
  chosen_on?: ChoiceRecord;
  /** Layers (by name) kept at least at these bits, where a version's maker chose so. */
  minimum_bits: Record<string, { weights: number; activations: number }>;
}

export interface ChoiceRecord {
  dataset: string;
  /** Images held out of the data set's training part. */
  images: number;
  /** Where it was made after the training: the command, and the digest of the version whose weights and ranges these are. */
  command?: string;
  from?: string;
}

/** What lies in `corrections.bin`: a block of float32 for each precision, in it the layers' channels in this order. */
export interface BiasCorrectionIndex {
  layers: { name: string; channels: number }[];
  /** By precision key, of 2..8 bits both: the byte at which its block begins. */
  offsets: Record<string, number>;
}

/** One row of the precision table. */
export interface PrecisionRecord {
  /** Share of the held-out test set that was classified rightly, 0..1; null where there was none (an imported model). */
  accuracy: number | null;
  /** Images that `accuracy` was measured on. */
  images: number;
  /** Bytes resident for a variant of this precision. */
  memory_bytes: number;
  macs: number;
  /** By the energy table of the machine that made the version. */
  energy_uj: number;
}

/** A row that was measured. */
export interface MeasuredRecord extends PrecisionRecord {
  accuracy: number;
}

export interface ImportRecord {
  /** As the document says: `keras v2.9.0`, `TensorFlow.js tfjs-layers v4.22.0` … */
  generated_by: string | null;
  /** What the activation ranges come from: weights and batch norms alone, or images. */
  ranges: 'data-free' | 'calibration';
  calibration_images: number;
}

export interface TrainingRecord {
  /** The command that makes these weights again. */
  command: string;
  /** Commit of this project, or null where it is not known. */
  commit: string | null;
  seed: number;
  architecture: string;
  /** Factor on its channels; absent in older versions, which had 1. */
  width?: number;
  dataset: string;
  examples: number;
  /** Share of the data set's training examples that was held out of them; absent in older versions and where files say. */
  validation_share?: number;
  epochs: number;
  batch_size: number;
  learning_rate: number;
  /** Kind, momentum, weight decay; absent in older versions, which took Adam and a cosine. */
  optimizer?: Record<string, unknown>;
  schedule?: string;
  label_smoothing?: number;
  /** How the images were varied; absent in older versions. */
  augmentation?: Record<string, unknown>;
  /** As the request said; null: as the data set says. */
  class_weights?: unknown;
  /** Files of the data set that could not be read: how many, of how many, the first few. */
  skipped?: { count: number; of: number; files: string[] };
  fold_batch_norm?: boolean;
  weight_averaging?: number;
  regularizer: Record<string, unknown>;
  /** `wasm`, `tensorflow` … */
  backend: string;
  duration_s: number;
  /** By epoch: loss, accuracy, gradient norms where known. */
  history: Record<string, number>[];
  /** Digest of the version whose weights it began from, or null. */
  from: string | null;
  /** Id of the training job that made it; absent where it was made by the command line. */
  job?: string;
}
