import type { Manifest } from '../model/manifest.js';
import type { NewVersion, Version } from '../model/store.js';
import { type AppraisalOptions, appraise } from './appraisal.js';
import type { Dataset } from './datasets/dataset.js';
import type { StartingPoint } from './request.js';
import { expectShape } from './start.js';

/**
 * The share of a data set's training examples to hold out, so that none of those that a version was trained on decides;
 * undefined, the data set's own, where that is not known or it was trained on another.
 */
export function heldOutShare({ training }: Pick<Manifest, 'training'>, dataset: string): number | undefined {
  return training?.dataset === dataset ? training.validation_share : undefined;
}

/**
 * The same weights and ranges with another choice of the quantiser, made anew on a data set's validation images and measured
 * on its test images: nothing is trained.
 * @param start the version's weights and topology
 * @param command for the record
 * @throws ServiceError invalid_field where the data set is of another shape or number of classes; TrainingCancelled
 */
export async function requantized(
  { manifest }: Pick<Version, 'manifest'>,
  { graph, weights, topology, digest }: StartingPoint,
  dataset: Dataset,
  options: AppraisalOptions & { command: string },
): Promise<NewVersion> {
  expectShape('dataset', "input of the version's model", manifest.input.shape, dataset.inputShape);
  expectShape('dataset', "classes of the version's model", [manifest.labels.length], [dataset.labels.length]);
  const { input, ranges } = manifest;
  const { minimum_bits } = manifest.quantizer;
  const plain = { graph, weights, manifest: { input, ranges, quantizer: { clip_rules: {}, minimum_bits } } };
  const { candidate, precisions, default_precision } = await appraise(plain, dataset, options);
  const { quantizer } = candidate.manifest;
  const chosen_on = {
    dataset: dataset.name,
    images: 0,
    ...quantizer.chosen_on,
    command: options.command,
    from: digest,
  };
  const { format: _f, created: _c, files: _, ...rest } = manifest;
  return {
    manifest: { ...rest, quantizer: { ...quantizer, chosen_on }, precisions, default_precision },
    topology,
    weights,
    corrections: candidate.corrections,
  };
}
