import { kindsOf, type RegularizerSettings, type TrainRequest } from './request.js';

/** The `npm run train` command that asks for the same; a topology stands as the name of a file that holds it. */
export function commandOf(request: TrainRequest): string {
  const { optimizer, limit, from, architecture, augmentation } = request;
  const words = ['npm run train --', `--model ${request.model}`, `--dataset ${request.dataset}`];
  // A version has its own architecture, so the two are not given together.
  if (from !== null) words.push(`--from ${from}`);
  else words.push(`--architecture ${typeof architecture === 'string' ? architecture : 'topology.json'}`);
  if (request.width !== 1) words.push(`--width ${request.width}`);
  words.push(`--epochs ${request.epochs}`, `--batch-size ${request.batch_size}`);
  words.push(`--learning-rate ${request.learning_rate}`);
  words.push(`--optimizer ${optimizer.kind}`, `--weight-decay ${optimizer.weight_decay}`);
  if (optimizer.kind === 'sgd') words.push(`--momentum ${optimizer.momentum}`);
  words.push(
    `--schedule ${request.schedule}`,
    `--label-smoothing ${request.label_smoothing}`,
    `--seed ${request.seed}`,
  );
  if (request.image_size !== null) words.push(`--image-size ${request.image_size}`);
  if (augmentation?.shift !== undefined) words.push(`--shift ${augmentation.shift}`);
  if (augmentation?.flip !== undefined) words.push(`--flip ${augmentation.flip}`);
  if (request.class_weights !== null) words.push(`--class-weights ${classWeights(request.class_weights)}`);
  if (request.validation_share !== null) words.push(`--validation-share ${request.validation_share}`);
  if (limit !== null) words.push(`--limit ${limit}`);
  words.push(...regularizerWords(request.regularizer));
  if (request.fold_batch_norm !== (from !== null)) words.push(`--fold-batch-norm ${request.fold_batch_norm}`);
  if (request.weight_averaging > 0) words.push(`--weight-averaging ${request.weight_averaging}`);
  return words.join(' ');
}

function regularizerWords(regularizer: RegularizerSettings): string[] {
  const kinds = kindsOf(regularizer);
  if (kinds.length === 0) return ['--regularizer none'];
  const words = [`--regularizer ${kinds.join(',')}`];
  if (kinds.includes('gradient-l1') && regularizer.form === 'sam') {
    words.push(`--form sam --sam-radius ${regularizer.sam_radius} --sam-bits ${regularizer.sam_bits}`);
  } else if (kinds.includes('gradient-l1')) {
    for (const of of ['weights', 'activations'] as const) {
      const [ratio, lambda] = [regularizer[`ratio_${of}`], regularizer[`lambda_${of}`]];
      words.push(ratio > 0 ? `--ratio-${of} ${ratio}` : `--lambda-${of} ${lambda}`);
    }
  }
  if (kinds.includes('kurtosis')) words.push(`--lambda-kurtosis ${regularizer.lambda_kurtosis}`);
  if (kinds.includes('any-width')) words.push(`--widths ${regularizer.widths.join(',')}`);
  if (kinds.includes('qat')) words.push(`--qat-bits ${regularizer.qat_bits}`);
  words.push(`--start-epoch ${regularizer.start_epoch}`);
  return words;
}

/** As the shell takes it. */
function classWeights(weights: string | Record<string, number>): string {
  return typeof weights === 'string' ? weights : `'${JSON.stringify(weights).replaceAll("'", "'\\''")}'`;
}
