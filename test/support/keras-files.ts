/** Writes models as tensorflowjs_converter does: model.json around a Keras config, weights in shards, quantised or not. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toFloat16 } from '../../src/model/float16.js';

export interface KerasLayer {
  class_name: string;
  config: Record<string, unknown>;
  name: string;
  inbound_nodes: unknown[];
}

export interface KerasModel {
  name: string;
  layers: KerasLayer[];
  /** Name of the input and of the output layer. */
  ends: [string, string];
  /** In the order of the file. */
  weights: Map<string, { shape: number[]; data: Float32Array }>;
}

export interface ConverterOptions {
  /** `--quantize_float16`, `--quantize_uint8` or `--quantize_uint16`. */
  quantize?: 'float16' | 'uint8' | 'uint16';
  /** `--weight_shard_size_bytes`; the converter's own is 4 MiB. */
  shardBytes?: number;
}

export async function writeConverted(folder: string, model: KerasModel, options: ConverterOptions = {}) {
  await mkdir(folder, { recursive: true });
  const { document, bytes } = converted(model, options);
  const [{ paths }] = document.weightsManifest;
  const { shardBytes = 4 * 1024 * 1024 } = options;
  for (const [i, path] of paths.entries()) {
    await writeFile(join(folder, path), bytes.subarray(i * shardBytes, (i + 1) * shardBytes));
  }
  await writeFile(join(folder, 'model.json'), JSON.stringify(document));
  return { document, bytes };
}

export function converted({ name, layers, ends, weights }: KerasModel, options: ConverterOptions = {}) {
  const { quantize, shardBytes = 4 * 1024 * 1024 } = options;
  const entries = [...weights].map(([name, { shape, data }]) => ({ name, shape, ...encoded(data, quantize) }));
  const bytes = Buffer.concat(entries.map((entry) => entry.bytes));
  const shards = Math.max(1, Math.ceil(bytes.length / shardBytes));
  const paths = Array.from({ length: shards }, (_, i) => `group1-shard${i + 1}of${shards}.bin`);
  const config = {
    name,
    trainable: true,
    layers,
    input_layers: [[ends[0], 0, 0]],
    output_layers: [[ends[1], 0, 0]],
  };
  const document = {
    format: 'layers-model',
    generatedBy: 'keras v2.9.0',
    convertedBy: 'TensorFlow.js Converter v4.22.0',
    modelTopology: {
      keras_version: '2.9.0',
      backend: 'tensorflow',
      model_config: { class_name: 'Functional', config },
    },
    weightsManifest: [{ paths, weights: entries.map(({ bytes: _, ...entry }) => entry) }],
  };
  return { document, bytes };
}

function encoded(data: Float32Array, quantize: ConverterOptions['quantize']) {
  const dtype = 'float32';
  if (quantize === undefined) return { dtype, bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
  if (quantize === 'float16') {
    const half = Uint16Array.from(data, toFloat16);
    return { dtype, quantization: { dtype: quantize, original_dtype: dtype }, bytes: Buffer.from(half.buffer) };
  }
  const { scale, min } = affine(data, quantize === 'uint8' ? 255 : 65535);
  const code = (v: number) => Math.round((v - min) / scale);
  const codes = quantize === 'uint8' ? Uint8Array.from(data, code) : Uint16Array.from(data, code);
  const quantization = { dtype: quantize, min, scale, original_dtype: dtype };
  return { dtype, quantization, bytes: Buffer.from(codes.buffer) };
}

/** The converter's: the range of the data, moved so that 0 is a code where it lies within; a constant has scale 1. */
function affine(data: Float32Array, levels: number): { scale: number; min: number } {
  const min = data.reduce((a, b) => Math.min(a, b), Infinity);
  const max = data.reduce((a, b) => Math.max(a, b), -Infinity);
  if (min === max) return { scale: 1, min };
  const scale = (max - min) / levels;
  return { scale, min: min <= 0 && max >= 0 ? -Math.round(-min / scale) * scale : min };
}
