import type { Manifest, MeasuredRecord } from '../model/manifest.js';
import type { EnergyTable } from '../quantize/energy.js';
import { chooseDefault } from './choice.js';
import type { Dataset } from './datasets/dataset.js';
import { evaluateVersion } from './evaluate.js';
import { chooseQuantizer } from './quantizer-choice.js';
import type { Candidate } from './runner.js';

export interface AppraisalOptions {
  energyTable: EnergyTable;
  /** At most so many images, of those that decide and of those that test. */
  limit?: number;
  isCancelled?(): boolean;
  /** @param done share of the work, 0..1 */
  onProgress?(done: number): void;
}

/** What a version needs beside weights and ranges. */
export interface Appraisal extends Pick<Manifest, 'default_precision'> {
  precisions: Record<string, MeasuredRecord>;
  /** The version with its quantiser. */
  candidate: Candidate;
}

/** The part of the work that choosing takes. */
const CHOICE_SHARE = 0.5;

/**
 * How a version is to be quantised at each precision and which is its default, decided on the validation images alone; then
 * what that is worth, measured on the test images.
 * @throws TrainingCancelled
 */
export async function appraise(version: Candidate, dataset: Dataset, options: AppraisalOptions): Promise<Appraisal> {
  const { energyTable, limit, isCancelled, onProgress } = options;
  const { quantizer, corrections, images, measured } = await chooseQuantizer(version, dataset.validation, {
    limit,
    isCancelled,
    onProgress: (done) => onProgress?.(done * CHOICE_SHARE),
  });
  const chosen_on = { dataset: dataset.name, images };
  const manifest = { ...version.manifest, quantizer: { ...quantizer, chosen_on } };
  const candidate: Candidate = { ...version, manifest, corrections };
  const precisions = await evaluateVersion(candidate, dataset.test, {
    energyTable,
    limit,
    isCancelled,
    onProgress: (done) => onProgress?.(CHOICE_SHARE + done * (1 - CHOICE_SHARE)),
  });
  return { candidate, precisions, default_precision: chooseDefault(measured) };
}
