/** From the files of a model to a version: read, spread the pixels, find ranges, price every precision. */
import { calibrate } from '../engine/calibration.js';
import { ServiceError } from '../errors.js';
import { badModel } from '../model/fields.js';
import type { Graph, Weights } from '../model/graph.js';
import type { ImportRecord, InputSpec, Manifest, PrecisionRecord } from '../model/manifest.js';
import { elements } from '../model/shapes.js';
import type { NewVersion } from '../model/version.js';
import { buildPlan, outline } from '../quantize/build.js';
import { dataFreeRanges } from '../quantize/data-free.js';
import { type EnergyTable, energyUj } from '../quantize/energy.js';
import { fuseGraph } from '../quantize/fuse.js';
import { precisionKey, STANDARD_PRECISIONS } from '../quantize/precision.js';
import type { QuantizerSource } from '../quantize/storage.js';
import { calibrationImages } from './calibration-images.js';
import { type FoundModel, readModelFolder } from './model-folder.js';
import { inputForm } from './preprocessing.js';
import { type ImportRequest, invalid } from './request.js';

export interface ImportOptions {
  energyTable: EnergyTable;
  /** Pixels of a calibration image at most, before it is resized. */
  maxImagePixels: number;
  /** Bytes of the weights at most, as float32. */
  maxModelBytes: number;
}

/** What was imported, in numbers. */
export interface ImportSummary {
  /** Layers by kind, as the graph names them. */
  layers: Record<string, number>;
  /** Numbers in the weights. */
  parameters: number;
}

const DEFAULT_PRECISION = '8x8';
/** Multiply-accumulates of one pass over the calibration images, at about 100 million a second. */
const CALIBRATION_MACS = 4e9;
const LEAST_IMAGES = 8;
/** With at most so many inputs no row can leave int32: 2^30 is left to the bias, and a product is at most 127·255. */
const SAFE_INPUTS = Math.floor((2 ** 31 - 1 - 2 ** 30) / (127 * 255));

/**
 * @param path of `model.json`, or of its folder
 * @param calibration folder of images for the ranges; null: ranges without data
 * @throws ServiceError bad_model, unsupported_layer, invalid_field
 */
export async function importModelFolder(
  path: string,
  calibration: string | null,
  request: ImportRequest,
  { energyTable, maxImagePixels, maxModelBytes }: ImportOptions,
): Promise<{ version: NewVersion; summary: ImportSummary }> {
  const found = await readModelFolder(path, maxModelBytes);
  const { graph, weights, topology } = found;
  const input = inputSpec(graph, request);
  const labels = labelsOf(found, request);
  const measured =
    calibration === null ? null : await measuredRanges(found, input, calibration, request, maxImagePixels);
  const ranges = measured?.ranges ?? dataFreeRanges(graph, weights, input);
  const source: QuantizerSource = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
  checkAccumulators(graph, weights, source);
  const record: ImportRecord = {
    generated_by: found.generatedBy,
    ranges: measured === null ? 'data-free' : 'calibration',
    calibration_images: measured?.images ?? 0,
  };
  const manifest: NewVersion['manifest'] = {
    model: request.model,
    ...source,
    labels,
    default_precision: DEFAULT_PRECISION,
    precisions: unmeasured(graph, source, energyTable),
    imported: record,
    training: null,
  };
  return { version: { manifest, topology, weights }, summary: summaryOf(graph, weights) };
}

function shapeOf(graph: Graph, name: string): number[] {
  return graph.nodes.find((node) => node.name === name)?.shape ?? [];
}

function inputSpec(graph: Graph, { input, resize, inputShape }: ImportRequest): InputSpec {
  const taken = shapeOf(graph, graph.input);
  if (taken.length === 3 && inputShape !== null && `${taken}` !== `${inputShape}`) {
    throw invalid('input_shape', `[${taken.join(', ')}], which the model takes`, inputShape);
  }
  const list = taken.length === 1 ? taken[0] : null;
  if (list !== null && inputShape !== null && elements(inputShape) !== list) {
    throw invalid('input_shape', `a shape of ${list} numbers, which the model takes`, inputShape);
  }
  if (taken.length !== 3 && list === null) {
    throw badModel('model.json: input', 'an image [height, width, channels], or a list of numbers', taken);
  }
  const shape = (list === null ? taken : (inputShape ?? [1, list, 1])) as InputSpec['shape'];
  const form = 'range' in input ? { range: input.range } : inputForm(input.preprocessing, shape[2]);
  return { shape, ...form, resize };
}

function labelsOf({ graph, labels: found }: FoundModel, { labels: given }: ImportRequest): string[] {
  const output = shapeOf(graph, graph.output);
  if (output.length !== 1) throw badModel('model.json: output', '[classes]', output);
  const labels = given ?? found ?? Array.from({ length: output[0] }, (_, i) => String(i));
  if (labels.length === output[0]) return labels;
  const [field, expected] = [given === null ? 'labels.txt' : 'labels', `${output[0]} labels, one for each output`];
  const detail = `${field}: expected ${expected}, got ${labels.length}`;
  throw new ServiceError('invalid_field', detail, { field, expected, actual: labels.length });
}

async function measuredRanges(
  { graph, weights }: FoundModel,
  input: InputSpec,
  folder: string,
  request: ImportRequest,
  maxImagePixels: number,
) {
  const source = { input, ranges: {}, quantizer: { clip_rules: {}, minimum_bits: {} } };
  const { plan } = outline(fuseGraph(graph), source, { weightBits: 32, activationBits: 32 });
  const affordable = Math.max(LEAST_IMAGES, Math.floor(CALIBRATION_MACS / plan.macs));
  const most = Math.min(request.calibrationImages, affordable);
  const { batches, images } = await calibrationImages(folder, input, most, maxImagePixels);
  return { ranges: calibrate(graph, weights, input, batches), images };
}

/** A layer of so many inputs that its sums could leave int32 is found now and not when a request asks for it. */
function checkAccumulators(graph: Graph, weights: Weights, source: QuantizerSource): void {
  const precision = { weightBits: 8, activationBits: 8 } as const;
  const { plan } = outline(fuseGraph(graph), source, precision);
  const wide = plan.ops.some((op) => 'weights' in op && op.weights.columns > SAFE_INPUTS);
  if (wide) buildPlan(graph, weights, source, precision);
}

/** The precision table of a version that no test images were there for: what each precision costs. */
export function unmeasured(graph: Graph, source: QuantizerSource, table: EnergyTable): Manifest['precisions'] {
  const fused = fuseGraph(graph);
  const rows = STANDARD_PRECISIONS.map((precision): [string, PrecisionRecord] => {
    const { plan, layout } = outline(fused, source, precision);
    const cost = { memory_bytes: layout.bytes, macs: plan.macs, energy_uj: energyUj(plan, table) };
    return [precisionKey(precision), { accuracy: null, images: 0, ...cost }];
  });
  return Object.fromEntries(rows);
}

function summaryOf(graph: Graph, weights: Weights): ImportSummary {
  const layers: Record<string, number> = {};
  for (const { op } of graph.nodes) if (op !== 'input') layers[op] = (layers[op] ?? 0) + 1;
  return { layers, parameters: [...weights.values()].reduce((sum, { data }) => sum + data.length, 0) };
}
