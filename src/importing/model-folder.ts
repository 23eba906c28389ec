import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { badModel } from '../model/fields.js';
import type { Weights } from '../model/graph.js';
import { type ImportedModel, importModel } from '../model/import.js';
import { elements } from '../model/shapes.js';
import { decodeWeights, parseDocument, readNamed } from '../model/weights.js';
import { parseLabels } from './request.js';

/** A model as its files have it. */
export interface FoundModel extends ImportedModel {
  /** `model.json` less the weights manifest and what only the maker's training needs. */
  topology: Record<string, unknown>;
  weights: Weights;
  /** Of `labels.txt`, where there is one. */
  labels: string[] | null;
  /** Who wrote the document, as it says. */
  generatedBy: string | null;
}

const MODEL_FILE = 'model.json';
const LABELS_FILE = 'labels.txt';
/** The largest documents have some thousand layers, and a few megabytes. */
const LARGEST_DOCUMENT = 64 * 1024 * 1024;
const LARGEST_LABELS = 4 * 1024 * 1024;

/**
 * Reads a TF.js Layers model: the topology, and the weights from all the shards of all the groups.
 * @param path a `model.json` by whatever name, or a folder that holds one or has one sub-folder that does
 * @param maxModelBytes that the weights may take as float32
 * @throws ServiceError bad_model, unsupported_layer, invalid_field (labels.txt)
 */
export async function readModelFolder(path: string, maxModelBytes: number): Promise<FoundModel> {
  const file = await findDocument(path);
  const folder = dirname(file);
  const document = parseDocument(await readNamed(folder, basename(file), LARGEST_DOCUMENT));
  const imported = importModel(document);
  checkDecoded(imported, maxModelBytes);
  const { modelTopology, weightsManifest, format, generatedBy, convertedBy, ...rest } = document as Record<
    string,
    unknown
  >;
  if (weightsManifest === undefined) throw badModel(`${MODEL_FILE}: weightsManifest`, 'an array', undefined);
  const weights = await decodeWeights(document, (shard) => readNamed(folder, shard));
  // A bare topology has its fields where others have `modelTopology`.
  const body = modelTopology === undefined ? { modelTopology: rest } : { modelTopology };
  return {
    ...imported,
    topology: { format: format ?? 'layers-model', generatedBy, convertedBy, ...body },
    weights,
    labels: await readLabels(folder),
    generatedBy: typeof generatedBy === 'string' && generatedBy !== '' ? generatedBy.slice(0, 100) : null,
  };
}

async function findDocument(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile()) return path;
  if (!found?.isDirectory()) throw badModel(MODEL_FILE, 'a file or folder', undefined);
  const entries = await readdir(path, { withFileTypes: true });
  if (entries.some((entry) => entry.name === MODEL_FILE)) return join(path, MODEL_FILE);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
  if (folders.length === 1) {
    const inner = join(path, folders[0].name);
    if ((await readdir(inner)).includes(MODEL_FILE)) return join(inner, MODEL_FILE);
  }
  throw badModel(MODEL_FILE, 'one in the folder, or in its only sub-folder', undefined);
}

/** Quantised weights are up to four times as large in memory as in their files. */
function checkDecoded({ weightShapes }: ImportedModel, maxModelBytes: number): void {
  let bytes = 0;
  for (const shape of weightShapes.values()) bytes += 4 * elements(shape);
  if (bytes <= maxModelBytes) return;
  throw badModel(`${MODEL_FILE}: weights`, `at most ${maxModelBytes} bytes as float32 (MAX_MODEL_BYTES)`, bytes);
}

async function readLabels(folder: string): Promise<string[] | null> {
  const found = await stat(join(folder, LABELS_FILE)).catch(() => null);
  if (!found?.isFile()) return null;
  return parseLabels((await readNamed(folder, LABELS_FILE, LARGEST_LABELS)).toString(), LABELS_FILE);
}
