import { parseTrainRequest } from '../jobs/validation.js';
import { commandOf } from '../training/command.js';
import type { TrainRequest } from '../training/request.js';
import { BASE, METHODS } from './methods.js';

/** Every method of one net on one data set, over seeds, under one recipe. */
export interface Study {
  dataset: string;
  net: string;
  width: number;
  /** fine-tuned: each method goes on from a plain base that a seed's methods share. */
  mode: 'fine-tuned' | 'from-scratch';
  seeds: number[];
  methods: string[];
  /** Of a base, or of a method from scratch. */
  baseEpochs: number;
  /** Of each method's fine-tuning, plain training included. */
  epochs: number;
  /** At most so many training and test images; null: all. */
  limit: number | null;
  testLimit: number | null;
  /** The base of every seed; null: a base is trained for each. */
  base: GivenBase | null;
  /** Where the records and versions are. */
  folder: string;
}

/** A base that is there already. */
export interface GivenBase {
  /** Of a model. */
  folder: string;
  version: number;
  /** Of that version. */
  digest: string;
}

/** One training of a study. */
export interface Run {
  seed: number;
  /** A method's name, or `base`. */
  method: string;
  epochs: number;
  /** Of `POST /admin/train`; null for a base that is there already. */
  body: Record<string, unknown> | null;
  /** Digest of that base; null for a run that trains. */
  given: string | null;
}

/** The version that a run goes on from. */
export interface BaseVersion {
  version: number;
  digest: string;
}

/** He et al.'s recipe (batch 128, momentum, weight decay 5e-4 as is usual since) under one cycle. */
const TRAINING = {
  batch_size: 128,
  optimizer: { kind: 'sgd', momentum: 0.9, weight_decay: 5e-4 },
  learning_rate: 0.2,
  schedule: 'one-cycle',
};
/** The weights are good already, and without batch norm (folded, as every fine-tuning has it) 0.003 shakes them and 0.01 diverges. */
const FINE_TUNING = { ...TRAINING, learning_rate: 0.001, schedule: 'cosine' };

/** The model's name under which a seed's versions lie in the study's folder. */
export function modelName(study: Study, seed: number): string {
  return `${study.net}-seed${seed}`;
}

export function baseRun(study: Study, seed: number): Run {
  const trained = study.base === null;
  const body = { ...fromScratch(study, seed), regularizer: { kind: 'none' } };
  return {
    seed,
    method: BASE,
    epochs: trained ? study.baseEpochs : 0,
    body: trained ? body : null,
    given: study.base?.digest ?? null,
  };
}

/** @param base of the seed; null from scratch */
export function methodRun(study: Study, seed: number, method: string, base: BaseVersion | null): Run {
  const { body } = METHODS[method];
  if (base === null) {
    return { seed, method, epochs: study.baseEpochs, body: { ...fromScratch(study, seed), ...body }, given: null };
  }
  const { epochs } = study;
  const begin = { model: modelName(study, seed), from: base.version, dataset: study.dataset, epochs };
  return { seed, method, epochs, body: { ...begin, ...FINE_TUNING, ...common(study, seed), ...body }, given: null };
}

function fromScratch(study: Study, seed: number): Record<string, unknown> {
  const { net, width, dataset, baseEpochs: epochs } = study;
  const begin = { model: modelName(study, seed), architecture: net, width, dataset, epochs };
  return { ...begin, ...TRAINING, ...common(study, seed) };
}

function common({ limit }: Study, seed: number) {
  return { seed, ...(limit === null ? {} : { limit }) };
}

/**
 * Checks every training of a study before the first begins.
 * @throws ServiceError as for the body of `POST /admin/train`
 */
export function checkStudy(study: Study): void {
  const base = study.mode === 'fine-tuned' ? { version: 1, digest: '' } : null;
  for (const seed of study.seeds) {
    if (base) requestOf(baseRun(study, seed));
    for (const method of study.methods) requestOf(methodRun(study, seed, method, base));
  }
}

/** The request of a run; null for a base that is there already. */
export function requestOf({ body }: Run): TrainRequest | null {
  return body === null ? null : parseTrainRequest(body);
}

/** The command that trains a run by itself; the models folder as it is named from the project's. */
export function commandFor(run: Run, models: string): string | null {
  const request = requestOf(run);
  return request && `${commandOf(request)} --out ${models}`;
}
