import type { ErrorCode } from '../errors.js';
import type { EnergyTable } from '../quantize/energy.js';
import type { ImportSummary } from './import.js';
import type { ImportRequest } from './request.js';

/** What the thread of an import is started with. */
export interface WorkerInput {
  path: string;
  calibration: string | null;
  request: ImportRequest;
  modelsDir: string;
  dataDir: string;
  energyTable: EnergyTable;
  maxImagePixels: number;
  maxModelBytes: number;
}

/** The one thing it says. */
export type WorkerAnswer =
  | { kind: 'imported'; version: number; digest: string; summary: ImportSummary }
  | { kind: 'refused'; code: ErrorCode; message: string; extra: Record<string, unknown> }
  | { kind: 'failed'; message: string; stack?: string; code?: string };
