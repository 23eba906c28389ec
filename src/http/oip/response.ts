/** From an inference to the bytes of its answer. Pure functions. */
import { endianness } from 'node:os';
import { milliseconds } from '../../serving/prediction.js';
import type { Inference } from '../../serving/request.js';
import { softmax, topIndices } from '../../serving/softmax.js';
import type { AnswerParameters, InferAnswer } from '../schemas/oip-infer.js';
import type { RequestedOutput } from './request.js';

/** Bytes of the length before each element of BYTES. */
const PREFIX = 4;

export interface EncodedAnswer {
  body: Buffer;
  /** Bytes of the JSON where binary data is behind it; null where the JSON is all. */
  headerLength: number | null;
}

type Tensor = InferAnswer['outputs'][number];
type Column = Float32Array | string[];

export function encodeAnswer(inference: Inference, id: string | undefined, outputs: RequestedOutput[]): EncodedAnswer {
  const { version } = inference;
  const blobs: Uint8Array[] = [];
  const answer: InferAnswer = {
    model_name: version.model,
    model_version: String(version.version),
    ...(id === undefined ? {} : { id }),
    parameters: answerParameters(inference),
    outputs: outputs.map((output) => {
      const { shape, column } = outputColumn(inference, output);
      const tensor: Tensor = { name: output.name, datatype: Array.isArray(column) ? 'BYTES' : 'FP32', shape };
      if (!output.binary) return { ...tensor, data: [...column] };
      const bytes = Array.isArray(column) ? packStrings(column) : floatBytes(column);
      blobs.push(bytes);
      return { ...tensor, parameters: { binary_data_size: bytes.length } };
    }),
  };
  const json = Buffer.from(JSON.stringify(answer));
  if (blobs.length === 0) return { body: json, headerLength: null };
  return { body: Buffer.concat([json, ...blobs]), headerLength: json.length };
}

/** In the words of `POST /predict`. */
function answerParameters({ version, precision, cost, variant, timing, degraded }: Inference): AnswerParameters {
  return {
    digest: version.digest,
    bits: precision.weightBits,
    activation_bits: precision.activationBits,
    energy_uj: cost.energyUj,
    memory_bytes: cost.memoryBytes,
    // a parameter cannot be null
    ...(cost.expectedAccuracy === null ? {} : { expected_accuracy: cost.expectedAccuracy }),
    engine: variant.engine,
    cached: variant.cached,
    build_ms: milliseconds(variant.buildMs),
    queue_ms: milliseconds(timing.queueMs),
    compute_ms: milliseconds(timing.computeMs),
    ...(degraded && {
      degraded: degraded.reason,
      degraded_from_bits: degraded.from.weightBits,
      degraded_from_activation_bits: degraded.from.activationBits,
    }),
  };
}

function outputColumn(inference: Inference, { name, classes }: RequestedOutput): { shape: number[]; column: Column } {
  const { batch, logits, version } = inference;
  const { labels } = version.manifest;
  const count = labels.length;
  const row = (i: number) => logits.subarray(i * count, (i + 1) * count);
  const rows = Array.from({ length: batch }, (_, i) => i);
  if (name === 'label') {
    // by logit, so that the underflow of a probability ties nothing
    return { shape: [batch], column: rows.map((i) => labels[topIndices(row(i), 1)[0]]) };
  }
  const values = name === 'logits' ? logits : probabilities(logits, batch, count);
  if (classes === 0) return { shape: [batch, count], column: values };
  const top = Math.min(classes, count);
  const column = rows.flatMap((i) =>
    topIndices(row(i), top).map((c) => `${values[i * count + c].toFixed(6)}:${c}:${labels[c]}`),
  );
  return { shape: [batch, top], column };
}

function probabilities(logits: Float32Array, batch: number, classes: number): Float32Array {
  const out = new Float32Array(batch * classes);
  for (let i = 0; i < batch; i++) out.set(softmax(logits, i * classes, classes), i * classes);
  return out;
}

/** Each string as UTF-8, its length before it in a little-endian uint32. */
export function packStrings(strings: readonly string[]): Buffer {
  const parts = strings.flatMap((text) => {
    const bytes = Buffer.from(text);
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt32LE(bytes.length);
    return [prefix, bytes];
  });
  return Buffer.concat(parts);
}

/** Little-endian, whatever this machine is. */
export function floatBytes(values: Float32Array): Uint8Array {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return endianness() === 'LE' ? bytes : Buffer.from(bytes).swap32();
}
