/** A net of one layer on 4×4 grey images: bright top, bright middle or bright bottom. */
import type { Engine, RunResult, Variant, VariantSource } from '../../src/engine/engine.js';
import { runPlan } from '../../src/engine/reference.js';
import type { Graph, Weights } from '../../src/model/graph.js';
import type { Manifest } from '../../src/model/manifest.js';
import type { NewVersion, Version } from '../../src/model/store.js';
import { buildPlan } from '../../src/quantize/build.js';
import type { Plan } from '../../src/quantize/plan.js';
import type { Precision } from '../../src/quantize/precision.js';

export const LABELS = ['top', 'middle', 'bottom'];
export const PIXELS = 16;

const graph: Graph = {
  nodes: [
    { op: 'input', name: 'input', inputs: [], shape: [4, 4, 1] },
    { op: 'reshape', name: 'flat', inputs: ['input'], shape: [16] },
    { op: 'dense', name: 'dense', inputs: ['flat'], shape: [3], kernel: 'dense/kernel', bias: 'dense/bias' },
    { op: 'softmax', name: 'softmax', inputs: ['dense'], shape: [3] },
  ],
  input: 'input',
  output: 'softmax',
};

const weights: Weights = new Map([
  ['dense/kernel', { shape: [16, 3], data: Float32Array.from({ length: 48 }, (_, i) => rowWeight(i)) }],
  ['dense/bias', { shape: [3], data: new Float32Array(3) }],
]);

function rowWeight(i: number): number {
  const row = Math.floor(i / 3 / 4);
  const label = i % 3;
  return [0, 1, 1, 2][row] === label ? 1 : -0.5;
}

function record(accuracy: number, energy_uj: number): Manifest['precisions'][string] {
  return { accuracy, images: 100, memory_bytes: 100, macs: 48, energy_uj };
}

export const manifest: Manifest = {
  format: 'bitdial/1',
  model: 'tiny',
  created: '2025-01-01T00:00:00.000Z',
  files: { 'model.json': '0'.repeat(64), 'weights.bin': '0'.repeat(64) },
  input: { shape: [4, 4, 1], range: [0, 1], resize: 'fill' },
  labels: LABELS,
  ranges: {},
  quantizer: {
    clip_rules: { '4x4': 'p-2.4' },
    range_factors: { '4x4': 0.8 },
    bias_corrections: { layers: [{ name: 'dense', channels: 3 }], offsets: { '4x4': 0 } },
    minimum_bits: {},
  },
  default_precision: '8x8',
  precisions: { '8x8': record(0.9, 0.003), '4x4': record(0.8, 0.002), '2x8': record(0.5, 0.001) },
  training: null,
};

export const tinyVersion: Version = {
  model: 'tiny',
  version: 1,
  digest: 'd'.repeat(64),
  folder: '/nowhere',
  manifest,
  graph,
};

/** The same to publish in a store. */
export function tinyNewVersion(model: string): NewVersion {
  const { format: _format, created: _created, files: _files, ...rest } = manifest;
  const layers = [
    { class_name: 'Flatten', config: { name: 'flat', batch_input_shape: [null, 4, 4, 1] } },
    { class_name: 'Dense', config: { name: 'dense', units: 3, activation: 'softmax' } },
  ];
  const modelTopology = { class_name: 'Sequential', config: { name: 'tiny', layers } };
  const quantizer = { clip_rules: {}, minimum_bits: {} };
  return { manifest: { ...rest, quantizer, model }, topology: { format: 'layers-model', modelTopology }, weights };
}

export function tinySource(): VariantSource {
  return { graph, manifest, folder: '/nowhere', readWeights: async () => weights };
}

/** The reference engine on the caller's thread: a test needs no workers. */
export class InlineEngine implements Engine {
  readonly name = 'inline';

  async build(source: VariantSource, precision: Precision): Promise<Variant> {
    const plan = buildPlan(source.graph, await source.readWeights(), source.manifest, precision);
    return { plan, precision, memoryBytes: plan.arena.byteLength, buildMs: 0.1, engine: this.name };
  }

  async run({ plan }: Variant, input: Float32Array, batch: number): Promise<RunResult> {
    return { logits: runPlan(plan as Plan, input, batch), queueMs: 0, computeMs: 0.1 };
  }

  release(): void {}

  async close(): Promise<void> {}
}
