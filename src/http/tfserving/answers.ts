/** Answers of TensorFlow Serving's REST API. */
import type { Version } from '../../model/store.js';
import type { Inference } from '../../serving/request.js';
import { softmax } from '../../serving/softmax.js';
import { INPUT, OUTPUT, SIGNATURE } from './request.js';

/** Probabilities, [instances, classes]: the one output, so that nothing names it. */
export function probabilities({ version, batch, logits }: Inference): number[][] {
  const classes = version.manifest.labels.length;
  return Array.from({ length: batch }, (_, i) => Array.from(softmax(logits, i * classes, classes)));
}

/** For each example a pair of label and score for each class, in the order of the classes. */
export function classifications(inference: Inference): [label: string, score: number][][] {
  const { labels } = inference.version.manifest;
  return probabilities(inference).map((row) => row.map((score, i) => [labels[i], score]));
}

/** What ran, where a client that does not know of it has nothing to stumble over. */
export function ranHeaders({ version, precision, cost, degraded }: Inference): Record<string, string> {
  const headers: Record<string, string> = {
    'x-bitdial-version': String(version.version),
    'x-bitdial-bits': String(precision.weightBits),
    'x-bitdial-activation-bits': String(precision.activationBits),
    'x-bitdial-energy-uj': String(cost.energyUj),
    'x-bitdial-memory-bytes': String(cost.memoryBytes),
  };
  if (cost.expectedAccuracy !== null) headers['x-bitdial-expected-accuracy'] = String(cost.expectedAccuracy);
  if (degraded) headers['x-bitdial-degraded'] = degraded.reason;
  return headers;
}

/** Newest first. Every version that is listed can be asked: there is nothing to load. */
export function modelStatus(versions: readonly number[]) {
  const status = { error_code: 'OK', error_message: '' };
  const newestFirst = [...versions].sort((a, b) => b - a);
  return {
    model_version_status: newestFirst.map((version) => ({ version: String(version), state: 'AVAILABLE', status })),
  };
}

export function modelMetadata({ model, version, manifest }: Version) {
  const signature = {
    inputs: { [INPUT]: tensor(`${SIGNATURE}_${INPUT}:0`, manifest.input.shape) },
    outputs: { [OUTPUT]: tensor('StatefulPartitionedCall:0', [manifest.labels.length]) },
    method_name: 'tensorflow/serving/predict',
  };
  return {
    model_spec: { name: model, signature_name: '', version: String(version) },
    metadata: { signature_def: { signature_def: { [SIGNATURE]: signature } } },
  };
}

/** A batch of any size; 64-bit numbers are text in protobuf's JSON. */
function tensor(name: string, shape: readonly number[]) {
  const dim = [-1, ...shape].map((size) => ({ size: String(size), name: '' }));
  return { dtype: 'DT_FLOAT', tensor_shape: { dim, unknown_rank: false }, name };
}
