/** The real work behind a study: trains a run, keeps its version, and measures it under both quantisers. */
import { join } from 'node:path';
import { makeFolder } from '../model/durable.js';
import { ModelStore } from '../model/store.js';
import type { Version } from '../model/version.js';
import { readEnergyTable } from '../quantize/energy.js';
import { parsePrecision } from '../quantize/precision.js';
import type { BackendName } from '../tensorflow/backend.js';
import { removeCheckpoint } from '../training/checkpoint.js';
import type { Split } from '../training/datasets/dataset.js';
import { findDataset } from '../training/datasets/table.js';
import { evaluateVersion } from '../training/evaluate.js';
import type { StartingPoint, TrainingHooks } from '../training/request.js';
import { candidateOf } from '../training/runner.js';
import { startingPoint } from '../training/starting-point.js';
import { train } from '../training/trainer.js';
import { openBase } from './given-base.js';
import { minMaxAccuracies } from './min-max.js';
import { type Outcome, PRECISIONS } from './record.js';
import type { Execute, Provenance } from './runner.js';
import { commandFor, type GivenBase, modelName, type Run, requestOf, type Study } from './study.js';

export interface LaboratoryOptions extends Provenance {
  backend: BackendName | 'auto';
  hooks: TrainingHooks;
  /** Of the min-max evaluation; 0: one for each core. */
  threads: number;
}

/** The folder of a study's versions. */
export function modelsFolder({ folder }: Pick<Study, 'folder'>): string {
  return join(folder, 'models');
}

export function laboratory(study: Study, options: LaboratoryOptions): Execute {
  const store = new ModelStore({ modelsDir: modelsFolder(study), writeTo: 'models' });
  const limit = study.testLimit ?? undefined;
  const onTest = async <T>(measure: (split: Split) => Promise<T>): Promise<T> => {
    const dataset = await findDataset(study.dataset)();
    try {
      return await measure(dataset.test);
    } finally {
      dataset.close();
    }
  };
  const checkpointOf = ({ method, seed }: Run) => join(study.folder, `${method}.seed${seed}.checkpoint`);
  const measuring = { energyTable: readEnergyTable(undefined), limit };

  async function trained(run: Run): Promise<{ made: Version; ours: Record<string, number> }> {
    const request = requestOf(run);
    if (request === null) return given(run);
    // The checkpoint is the first file there.
    await makeFolder(study.folder);
    const training = {
      command: commandFor(run, options.models) ?? undefined,
      commit: options.commit,
      backend: options.backend,
      evaluationLimit: limit,
      checkpoint: checkpointOf(run),
    };
    const { version, accuracies } = await train(request, options.hooks, await startingPoint(store, request), training);
    return { made: await store.publish(version, { makeCurrent: false }), ours: accuracies };
  }

  /** A base that was trained before: a copy of it among the study's versions. */
  async function given(run: Run): Promise<{ made: Version; ours: Record<string, number> }> {
    const { folder, version: number, digest } = study.base as GivenBase;
    const { store: source, version } = await openBase(folder, number);
    if (version.digest !== digest) {
      throw new Error(`--base ${folder}: expected version ${digest} as at the beginning, got ${version.digest}`);
    }
    const from = { model: version.model, from: version.version };
    const { topology, weights } = (await startingPoint(source, from)) as StartingPoint;
    const { corrections } = await candidateOf(source.source(version));
    const { format: _f, files: _i, created: _c, ...manifest } = version.manifest;
    const copy = { manifest: { ...manifest, model: modelName(study, run.seed) }, topology, weights, corrections };
    const made = await store.publish(copy, { makeCurrent: false });
    const candidate = { graph: made.graph, weights, manifest: made.manifest, corrections };
    const precisions = PRECISIONS.map(parsePrecision);
    const records = await onTest((split) => evaluateVersion(candidate, split, { ...measuring, precisions }));
    return { made, ours: Object.fromEntries(Object.entries(records).map(([key, { accuracy }]) => [key, accuracy])) };
  }

  return async (run): Promise<Outcome> => {
    const { made, ours } = await trained(run);
    const { manifest, graph } = made;
    const candidate = { graph, weights: await store.source(made).readWeights(), manifest };
    const [float, ...integers] = PRECISIONS;
    const { threads } = options;
    const { minMax, images } = await onTest(async (split) => ({
      minMax: await minMaxAccuracies(candidate, split, integers, { ...measuring, threads }),
      images: Math.min(split.size, limit ?? split.size),
    }));
    // Only now: a call that is killed while it measures has not to train again.
    await removeCheckpoint(checkpointOf(run));
    return {
      version: { version: made.version, digest: made.digest },
      accuracies: {
        ours: Object.fromEntries(PRECISIONS.map((key) => [key, ours[key]])),
        'min-max': Object.fromEntries(PRECISIONS.map((key) => [key, key === float ? ours[key] : minMax[key]])),
      },
      images,
      examples: manifest.training?.examples ?? 0,
      backend: manifest.training?.backend ?? 'unknown',
      duration_s: manifest.training?.duration_s ?? 0,
      history: manifest.training?.history ?? [],
    };
  };
}
