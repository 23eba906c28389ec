import assert from 'node:assert/strict';
import type { Engine, RunResult, Variant, VariantSource } from '../../src/engine/engine.js';
import { type ErrorCode, ServiceError } from '../../src/errors.js';
import type { Graph } from '../../src/model/graph.js';
import type { InputSpec, Manifest, PrecisionRecord } from '../../src/model/manifest.js';
import type { Version } from '../../src/model/store.js';
import { planBytes } from '../../src/quantize/build.js';
import type { Plan } from '../../src/quantize/plan.js';
import { type Precision, precisionKey, STANDARD_PRECISIONS } from '../../src/quantize/precision.js';
import type { ServingStore } from '../../src/serving/service.js';

/** Lets everything run that is ready to. */
export const settle = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

/** What rejects with a ServiceError of this code; gives the error. */
export async function refused(promise: Promise<unknown>, code: ErrorCode): Promise<ServiceError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof ServiceError, `expected a ServiceError, got ${(error as Error)?.stack}`);
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.length > 0 && error.message.length < 400, error.message);
    return error;
  }
  assert.fail(`expected ${code}, got an answer`);
}

export class Gate {
  #open!: () => void;
  readonly passed = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  open(): void {
    this.#open();
  }
}

/** An engine that computes nothing: it counts bytes, builds and runs, and is told when to fail or wait. */
export class FakeEngine implements Engine {
  readonly name = 'fake';
  builds: string[] = [];
  runs: { precision: string; batch: number; input: Float32Array }[] = [];
  released = 0;
  /** Of everything built, or being built, and not yet released. */
  liveBytes = 0;
  peakBytes = 0;
  readonly live = new Set<Variant>();
  bytesOf = (source: VariantSource, precision: Precision) => planBytes(source.graph, source.manifest, precision);
  onBuild: (precision: Precision) => Promise<void> | void = () => {};
  onRun: (variant: Variant, batch: number) => Promise<void> | void = () => {};
  computeMs: (precision: Precision, batch: number) => number = (_, batch) => 2 * batch;
  logits: (input: Float32Array, batch: number) => Float32Array = (_, batch) => new Float32Array(batch * 3);

  async build(source: VariantSource, precision: Precision): Promise<Variant> {
    this.builds.push(precisionKey(precision));
    const memoryBytes = this.bytesOf(source, precision);
    this.liveBytes += memoryBytes;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
    try {
      await this.onBuild(precision);
    } catch (error) {
      this.liveBytes -= memoryBytes;
      throw error;
    }
    const variant = { plan: {} as Plan, precision, memoryBytes, buildMs: 1.5, engine: this.name };
    this.live.add(variant);
    return variant;
  }

  async run(variant: Variant, input: Float32Array, batch: number): Promise<RunResult> {
    assert.ok(this.live.has(variant), 'a released variant was run');
    this.runs.push({ precision: precisionKey(variant.precision), batch, input });
    await this.onRun(variant, batch);
    assert.ok(this.live.has(variant), 'a variant was released while it ran');
    const computeMs = this.computeMs(variant.precision, batch);
    return { logits: this.logits(input, batch), queueMs: 0.25, computeMs };
  }

  release(variant: Variant): void {
    assert.ok(this.live.delete(variant), 'released twice, or never built');
    this.liveBytes -= variant.memoryBytes;
    this.released++;
  }

  async close(): Promise<void> {}
}

/** input → flatten → dense of `classes`. */
export function denseGraph(shape: [number, number, number], classes: number): Graph {
  return {
    input: 'input',
    output: 'dense',
    nodes: [
      { op: 'input', name: 'input', inputs: [], shape },
      { op: 'reshape', name: 'flat', inputs: ['input'], shape: [shape[0] * shape[1] * shape[2]] },
      { op: 'dense', name: 'dense', inputs: ['flat'], shape: [classes], kernel: 'kernel', bias: null },
    ],
  };
}

export interface VersionOptions {
  model?: string;
  version?: number;
  input?: Partial<InputSpec>;
  labels?: string[];
  /** Accuracy by precision key; a standard table by default. */
  accuracies?: Record<string, number>;
  defaultPrecision?: string;
}

export function makeVersion(options: VersionOptions = {}): Version {
  const { model = 'toy', version = 1, labels = ['a', 'b', 'c'], defaultPrecision = '8x8' } = options;
  const input: InputSpec = { shape: [4, 6, 1], range: [0, 1], resize: 'fill', ...options.input };
  const accuracies =
    options.accuracies ??
    Object.fromEntries(STANDARD_PRECISIONS.map((p) => [precisionKey(p), 0.9 + p.weightBits / 1000]));
  const precisions: Record<string, PrecisionRecord> = {};
  for (const [key, accuracy] of Object.entries(accuracies)) {
    // Deliberately wrong: serving goes by its own table of energy and the plan's layout.
    precisions[key] = { accuracy, images: 100, memory_bytes: 1, macs: 1, energy_uj: 1e9 };
  }
  const manifest: Manifest = {
    format: 'bitdial/1',
    model,
    created: '2026-01-01T00:00:00.000Z',
    files: { 'model.json': '', 'weights.bin': '' },
    input,
    labels,
    ranges: {},
    quantizer: { clip_rules: {}, minimum_bits: {} },
    default_precision: defaultPrecision,
    precisions,
    training: null,
  };
  const graph = denseGraph(input.shape, labels.length);
  return { model, version, digest: `${model}-digest-${version}`, folder: `/nowhere/${model}`, manifest, graph };
}

export class FakeStore implements ServingStore {
  constructor(readonly versions: Version[]) {}

  async get(model: string, version?: number): Promise<Version> {
    const versions = this.versions.filter((v) => v.model === model);
    if (versions.length === 0) throw new ServiceError('model_not_found', `no model ${model}`);
    const found = version === undefined ? versions.at(-1) : versions.find((v) => v.version === version);
    if (!found) throw new ServiceError('version_not_found', `no version ${version}`);
    return found;
  }

  source(version: Version): VariantSource {
    return {
      graph: version.graph,
      manifest: version.manifest,
      folder: version.folder,
      readWeights: () => Promise.reject(new Error('nobody reads the weights of a fake')),
    };
  }
}
