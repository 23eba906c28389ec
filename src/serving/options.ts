import type { Config } from '../config.js';
import type { Engine, VariantSource } from '../engine/engine.js';
import type { Version } from '../model/store.js';
import type { EnergyTable } from '../quantize/energy.js';
import type { WarningLog } from './calibration.js';
import type { ServingObserver } from './request.js';

/** What serving needs of the store. */
export interface ServingStore {
  /** By number or label; without either the current version. @throws ServiceError model_not_found, version_not_found, label_not_found */
  get(model: string, which?: number | string): Promise<Version>;
  source(version: Version): VariantSource | Promise<VariantSource>;
}

export interface PredictionServiceOptions {
  config: Pick<
    Config,
    | 'defaultModel'
    | 'defaultBits'
    | 'variantCacheBytes'
    | 'maxBatch'
    | 'maxImagePixels'
    | 'maxQueue'
    | 'batching'
    | 'batchWaitMs'
    | 'overloadStatus'
    | 'overloadPolicy'
    | 'degradeWaitMs'
    | 'degradeMaxDrop'
    | 'powerBudgetMw'
  >;
  store: ServingStore;
  /** Used, not owned: who made it closes it, after the service. */
  engine: Engine;
  energyTable: EnergyTable;
  observer?: ServingObserver;
  logger?: WarningLog;
}
