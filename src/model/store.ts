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
}
export type { Weights };
