/** What a version takes and gives, in the protocol's words. Pure functions. */
import type { Version } from '../../model/version.js';
import { defaultPrecision } from '../../serving/choice.js';
import type { ModelConfig, ModelMetadata } from '../schemas/oip.js';
import { DATATYPES, INPUT, OUTPUTS } from '../schemas/oip-infer.js';

const PLATFORM = 'bitdial';

/** @param defaultBits as the setting has it: a width, or empty for what the version says */
export function modelMetadata(version: Version, versions: number[], defaultBits: string): ModelMetadata {
  const { input, labels } = version.manifest;
  const [low, high] = input.range;
  const { weightBits: bits, activationBits: activation_bits } = defaultPrecision(version, defaultBits);
  return {
    name: version.model,
    versions: versions.map(String),
    platform: PLATFORM,
    inputs: [
      {
        name: INPUT,
        datatype: 'FP32',
        shape: [-1, ...input.shape],
        parameters: { datatypes: DATATYPES.join(), low, high },
      },
    ],
    outputs: OUTPUTS.map((name) =>
      name === 'label'
        ? { name, datatype: 'BYTES', shape: [-1] }
        : { name, datatype: 'FP32', shape: [-1, labels.length] },
    ),
    parameters: { version: String(version.version), digest: version.digest, bits, activation_bits },
  };
}

/** The part of Triton's model configuration that its clients read. */
export function modelConfig(version: Version, maxBatch: number): ModelConfig {
  const { input, labels } = version.manifest;
  return {
    name: version.model,
    platform: PLATFORM,
    backend: PLATFORM,
    max_batch_size: maxBatch,
    input: [{ name: INPUT, data_type: 'TYPE_FP32', dims: [...input.shape] }],
    output: OUTPUTS.map((name) =>
      name === 'label'
        ? { name, data_type: 'TYPE_STRING', dims: [] }
        : { name, data_type: 'TYPE_FP32', dims: [labels.length] },
    ),
  };
}
