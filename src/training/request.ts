import type { Graph, Weights } from '../model/graph.js';
import type { NewVersion } from '../model/store.js';
import type { ScheduleKind } from './schedule.js';

export type RegularizerKind = 'none' | 'gradient-l1';

export interface RegularizerRequest {
  kind: RegularizerKind;
  lambda_weights?: number;
  lambda_activations?: number;
  /** First epoch (from 0) in which it acts. */
  start_epoch?: number;
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
} as const satisfies Partial<TrainRequest>;

/** The body of `POST /admin/train` once checked and with every default filled in. */
export interface TrainRequest {
  model: string;
  /** Built-in name, or a TF.js Layers topology. */
  architecture: string | Record<string, unknown>;
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
  regularizer: Required<RegularizerRequest>;
  seed: number;
  /** At most so many training examples; null: all. */
  limit: number | null;
  publish: boolean;
}

/** What the trainer tells while it works. */
export interface TrainingProgress {
  phase: 'training' | 'calibrating' | 'evaluating' | 'publishing';
  progress: number;
  epoch: number;
  epochs: number;
  step: number;
  steps: number;
  loss: number | null;
  accuracy: number | null;
  eta_s: number | null;
}

/** How a caller follows and stops a training. */
export interface TrainingHooks {
  onProgress(progress: TrainingProgress): void;
  /** Asked before every step and every evaluation batch; true ends the training with TrainingCancelled. */
  isCancelled(): boolean;
  /** The backend that was chosen, once it is known. */
  onBackend?(name: string): void;
}

/** What a training from given weights begins with. */
export interface StartingPoint {
  graph: Graph;
  weights: Weights;
  topology: Record<string, unknown>;
  digest: string;
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
