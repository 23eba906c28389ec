import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import type { Imported } from '../importing/importer.js';
import type { ImportRequest } from '../importing/request.js';
import type { JobQueue } from '../jobs/job.js';
import type { Known } from '../jobs/validation.js';
import type { ModelEntry, Version } from '../model/store.js';
import type { PredictionService } from '../serving/request.js';
import type { Tracer } from '../telemetry/tracer.js';
import type { DatasetEntry, DatasetSummary } from '../training/datasets/store.js';
import type { Statistics } from './oip/statistics.js';
import type { Metrics } from './plugins/metrics.js';
import type { Readiness } from './plugins/readiness.js';
import type { AdminTokens } from './plugins/tokens.js';

/** What the routes need of the model store. */
export interface ModelCatalog {
  models(): Promise<ModelEntry[]>;
  /** By number or label; without either the current version. @throws ServiceError model_not_found, version_not_found, label_not_found */
  get(model: string, which?: number | string): Promise<Version>;
  setCurrent(model: string, version: number): Promise<Version>;
  setLabel(model: string, label: string, version: number): Promise<Version>;
  removeLabel(model: string, label: string): Promise<void>;
}

/** What the routes need of the data sets. */
export interface DatasetCatalog {
  list(): Promise<DatasetEntry[]>;
  add(name: string, archive: Readable, options: { replace: boolean }): Promise<DatasetSummary>;
  remove(name: string): Promise<void>;
}

/** What the routes need of imports. */
export interface ModelImporter {
  fromFolder(path: string, calibration: string | null, request: ImportRequest): Promise<Imported>;
  fromArchive(archive: Readable, calibration: string | null, request: ImportRequest): Promise<Imported>;
}

/** What the app is built over. It owns none of these. */
export interface Parts {
  config: Config;
  service: PredictionService;
  store: ModelCatalog;
  queue: JobQueue;
  datasets: DatasetCatalog;
  importer: ModelImporter;
  /** As `/health/ready` names it. */
  engineName: string;
  adminTokens: AdminTokens;
  /** Names that a training may use, as they are now. */
  known(): Promise<Known>;
  /** The service's metrics, where the service was given their observer; default: new ones. */
  metrics?: Metrics;
  /** The counts by version, where the service was given their observer, too; default: new ones. */
  statistics?: Statistics;
  readiness?: Readiness;
  /** Default: nothing is traced. */
  tracer?: Tracer | null;
  logger?: Logger;
  /** Of this project, for the OpenAPI document. */
  version?: string;
  /** Milliseconds between the comments that keep an event stream alive. */
  heartbeatMs?: number;
}
