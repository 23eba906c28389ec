import type { BiasCorrections, LayerCorrections } from './corrections.js';
import type { Graph, Weights } from './graph.js';
import type { Manifest } from './manifest.js';

/** A version as the store lists it: its manifest, and the number beside its digest. */
export interface Version {
  model: string;
  version: number;
  digest: string;
  folder: string;
  manifest: Manifest;
  graph: Graph;
}

/** What the trainer or an import hands over; the store writes it, digests it and publishes it in one atomic step. */
export interface NewVersion {
  manifest: Omit<Manifest, 'format' | 'files' | 'created'>;
  /** The TF.js Layers `model.json` document, without `weightsManifest`: the store writes that. */
  topology: Record<string, unknown>;
  weights: Weights;
  /** Of biases, where some were chosen; the store writes them and their entry in the manifest. */
  corrections?: BiasCorrections;
}

/** What an engine takes to build a variant of a version. */
export interface VersionSource {
  graph: Graph;
  manifest: Manifest;
  folder: string;
  readWeights(): Promise<Weights>;
  /** Of a precision for which the manifest has some. */
  readCorrections(key: string): Promise<LayerCorrections>;
}

export interface ModelEntry {
  name: string;
  current: number;
  /** Version by label; `stable` is there always. */
  labels: Record<string, number>;
  /** In the order of their numbers. */
  versions: { version: number; digest: string }[];
}

/** What the store uses of a pino logger. */
export interface StoreLogger {
  warn(fields: Record<string, unknown>, message: string): void;
}
