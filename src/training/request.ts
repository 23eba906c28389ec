import type { Graph, Weights } from '../model/graph.js';
import type { InputSpec } from '../model/manifest.js';
import type { NewVersion } from '../model/store.js';
import type { ClassWeights } from './datasets/class-weights.js';
import type { Augmentation, Skipped } from './datasets/dataset.js';
import type { ScheduleKind } from './schedule.js';

export const REGULARIZER_KINDS = ['gradient-l1', 'kurtosis', 'any-width', 'qat'] as const;
export type RegularizerKind = (typeof REGULARIZER_KINDS)[number];

/** The means that make weights fit for quantisation. Settings of a kind that is not asked for are 0 or empty. */
export interface RegularizerSettings {
  kind: 'none' | RegularizerKind | RegularizerKind[];
  /** Of gradient-l1, in the form finite-difference. */
  lambda_weights: number;
  lambda_activations: number;
  /** In the place of a λ: what λ‖g‖₁/CE is to be, by running means; 0: λ is given. */
  ratio_weights: number;
  ratio_activations: number;
  /** Of gradient-l1: the derivative of the penalty, or the loss at the worst point of a box (sam). */
  form: 'finite-difference' | 'sam';
  /** Of sam: share of half a quantisation step at `sam_bits`. */
  sam_radius: number;
  sam_bits: number;
  lambda_kurtosis: number;
  /** Of any-width: weight widths that steps are drawn from; 32 is a float step. */
  widths: number[];
  qat_bits: number;
  /** First epoch (from 0) in which it acts. */
  start_epoch: number;
}

/** As a client sends it: what is left out has a default. */
export type RegularizerRequest = Partial<RegularizerSettings>;

export const NO_REGULARIZER: RegularizerSettings = {
  kind: 'none',
  lambda_weights: 0,
  lambda_activations: 0,
  ratio_weights: 0,
  ratio_activations: 0,
  form: 'finite-difference',
  sam_radius: 0,
  sam_bits: 0,
  lambda_kurtosis: 0,
  widths: [],
  qat_bits: 0,
  start_epoch: 0,
};

export function kindsOf({ kind }: Pick<RegularizerSettings, 'kind'>): RegularizerKind[] {
  if (kind === 'none') return [];
  return Array.isArray(kind) ? kind : [kind];
}

export interface OptimizerRequest {
  kind: 'adam' | 'sgd';
  /** Nesterov's, of sgd; 0 beside adam. */
  momentum: number;
  weight_decay: number;
}

/** Of the fields that came later: a job may be older than the service that runs it. */
export const RECIPE_DEFAULTS = {
  optimizer: { kind: 'adam', momentum: 0, weight_decay: 0 },
  schedule: 'cosine',
  label_smoothing: 0,
  image_size: null,
  augmentation: null,
  class_weights: null,
  validation_share: null,
  fold_batch_norm: false,
  weight_averaging: 0,
  width: 1,
} as const satisfies Partial<TrainRequest>;

/** Bounds of the width multiplier. */
export const LEAST_WIDTH = 0.25;
export const LARGEST_WIDTH = 4;

/** The body of `POST /admin/train` once checked and with every default filled in. */
export interface TrainRequest {
  model: string;
  /** Built-in name, or a TF.js Layers topology. */
  architecture: string | Record<string, unknown>;
  /** Factor on the channels of a built-in architecture; 1 beside `from` and beside a topology. */
  width: number;
  dataset: string;
  /** `current`, a version number, or null: from scratch. */
  from: 'current' | number | null;
  epochs: number;
  batch_size: number;
  learning_rate: number;
  optimizer: OptimizerRequest;
  schedule: ScheduleKind;
  /** Share of the target that all classes have in equal parts. */
  label_smoothing: number;
  /** Side of an image folder's images in pixels; null: what the net or the data set says. */
  image_size: number | null;
  /** Null, and what is left out: as the data set says. */
  augmentation: Partial<Augmentation> | null;
  class_weights: ClassWeights | 'none' | null;
  /** Share of the training examples that choices are made on; null: as the data set says. */
  validation_share: number | null;
  regularizer: RegularizerSettings;
  /** Train the net that serving quantises: batch norms folded into their layers. */
  fold_batch_norm: boolean;
  /** Decay of the moving average of the weights that is evaluated and published; 0: the weights themselves. */
  weight_averaging: number;
  seed: number;
  /** At most so many training examples; null: all. */
  limit: number | null;
  publish: boolean;
}

/** What the trainer tells while it works. */
export interface TrainingProgress {
  /** `preparing`: files are decoded; step and steps count them. */
  phase: 'preparing' | 'training' | 'calibrating' | 'evaluating' | 'publishing';
  progress: number;
  epoch: number;
  epochs: number;
  step: number;
  steps: number;
  /** Mean cross-entropy of the epoch so far. */
  loss: number | null;
  /** On the validation part, after the last whole epoch. */
  accuracy: number | null;
  /** ‖∇_w CE‖₁ and Σ‖∇_y CE‖₁, of the epoch so far; null where no step measured them. */
  norm_weights: number | null;
  norm_activations: number | null;
  eta_s: number | null;
  /** Files of the data set that cannot be read and are left out; absent where all can. */
  skipped?: Skipped;
}

export const NO_PROGRESS = {
  progress: 0,
  epoch: 0,
  step: 0,
  steps: 0,
  loss: null,
  accuracy: null,
  norm_weights: null,
  norm_activations: null,
  eta_s: null,
} as const satisfies Partial<TrainingProgress>;

/** Takes a line for the log. */
export type Notice = (level: 'info' | 'warn', text: string) => void;

/** How a caller follows and stops a training. */
export interface TrainingHooks {
  onProgress(progress: TrainingProgress): void;
  /** Asked before every step and every evaluation batch; true ends the training with TrainingCancelled. */
  isCancelled(): boolean;
  /** The backend that was chosen, once it is known. */
  onBackend?(name: string): void;
  /** The training is on disk as far as this, and can go on from here. */
  onCheckpoint?(progress: TrainingProgress): void;
  onNotice?: Notice;
}

/** What a training from given weights begins with. */
export interface StartingPoint {
  graph: Graph;
  weights: Weights;
  topology: Record<string, unknown>;
  digest: string;
  /** Of the version: images become what its weights were made for. */
  input?: InputSpec;
  /** Of the version, in the order of its logits. */
  labels?: string[];
}

export class TrainingCancelled extends Error {
  constructor() {
    super('training was cancelled');
    this.name = 'TrainingCancelled';
  }
}

/** A finished training: ready to publish. */
export interface TrainingResult {
  version: NewVersion;
  accuracies: Record<string, number>;
  backend: string;
}
