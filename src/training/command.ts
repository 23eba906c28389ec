import type { TrainRequest } from './request.js';

/** The `npm run train` command that asks for the same; a topology stands as the name of a file that holds it. */
export function commandOf(request: TrainRequest): string {
  const { regularizer, optimizer, limit, from, architecture } = request;
  const words = ['npm run train --', `--model ${request.model}`, `--dataset ${request.dataset}`];
  words.push(`--architecture ${typeof architecture === 'string' ? architecture : 'topology.json'}`);
  if (from !== null) words.push(`--from ${from}`);
  words.push(`--epochs ${request.epochs}`, `--batch-size ${request.batch_size}`);
  words.push(`--learning-rate ${request.learning_rate}`);
  words.push(`--optimizer ${optimizer.kind}`, `--weight-decay ${optimizer.weight_decay}`);
  if (optimizer.kind === 'sgd') words.push(`--momentum ${optimizer.momentum}`);
  words.push(
    `--schedule ${request.schedule}`,
    `--label-smoothing ${request.label_smoothing}`,
    `--seed ${request.seed}`,
  );
  if (limit !== null) words.push(`--limit ${limit}`);
  words.push(`--regularizer ${regularizer.kind}`);
  if (regularizer.kind !== 'none') {
    words.push(`--lambda-weights ${regularizer.lambda_weights}`);
    words.push(`--lambda-activations ${regularizer.lambda_activations}`, `--start-epoch ${regularizer.start_epoch}`);
  }
  return words.join(' ');
}
