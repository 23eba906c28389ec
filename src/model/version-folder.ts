import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.js';
import { CORRECTIONS_FILE, decodeCorrections, encodeCorrections, readCorrectionsFile } from './corrections.js';
import { checkDigest, sha256 } from './digest.js';
import { syncFolder, writeSynced } from './durable.js';
import { badModel } from './fields.js';
import type { Graph } from './graph.js';
import { importModel } from './import.js';
import { type Manifest, parseManifest } from './manifest.js';
import { elements } from './shapes.js';
import { temporaryName } from './temporary.js';
import type { NewVersion } from './version.js';
import { encodeWeights, parseDocument, WEIGHTS_FILE } from './weights.js';
import { parseWeightsManifest } from './weights-manifest.js';

/** A version as its files will be; only the time of its creation is not yet in the manifest. */
export interface PreparedVersion {
  manifest: Manifest;
  modelJson: string;
  weights: Buffer;
  corrections: Buffer | null;
}

/**
 * Checks a version and turns it into files. `created` is the time of this call.
 * @throws ServiceError `bad_model`, `unsupported_layer`
 */
export function prepareVersion({ manifest, topology, weights, corrections }: NewVersion): PreparedVersion {
  const { manifest: weightsManifest, bytes } = encodeWeights(weights);
  const model = 'modelTopology' in topology ? topology : { format: 'layers-model', modelTopology: topology };
  const { graph, storedShapes } = importModel({ ...model, weightsManifest });
  for (const entry of weightsManifest[0].weights) entry.shape = storedShapes.get(entry.name) ?? entry.shape;
  const modelJson = toJson({ ...model, weightsManifest });
  const corrected = corrections === undefined ? null : encodeCorrections(corrections);
  const files: Manifest['files'] = { 'model.json': sha256(modelJson), 'weights.bin': sha256(bytes) };
  if (corrected !== null) files[CORRECTIONS_FILE] = sha256(corrected.bytes);
  // What a caller may have left in from another version's manifest does not count.
  const { model: name, format: _format, created: _created, files: _files, ...rest } = manifest as Manifest;
  if (corrected === null && rest.quantizer?.bias_corrections) {
    throw badModel('corrections', 'those that the quantizer speaks of', undefined);
  }
  const quantizer = corrected ? { ...rest.quantizer, bias_corrections: corrected.index } : rest.quantizer;
  const created = new Date().toISOString();
  const whole = parseManifest(toJson({ format: 'bitdial/1', model: name, created, files, ...rest, quantizer }));
  checkAgainstGraph(whole, graph);
  return { manifest: whole, modelJson, weights: bytes, corrections: corrected?.bytes ?? null };
}

/** True where two manifests say the same, but for when. */
export function sameContent(a: Manifest, b: Manifest): boolean {
  return isDeepStrictEqual({ ...a, created: '' }, { ...b, created: '' });
}

/**
 * Writes the folder of a version, whole or not at all, and durably.
 * @param parent folder of the model
 * @returns the digest, which is the folder's name
 */
export async function writeVersionFolder(parent: string, version: PreparedVersion): Promise<string> {
  const manifest = `${JSON.stringify(version.manifest, null, 2)}\n`;
  const digest = sha256(manifest);
  const temporary = join(parent, temporaryName());
  try {
    await mkdir(temporary);
    await writeSynced(join(temporary, WEIGHTS_FILE), version.weights);
    await writeSynced(join(temporary, 'model.json'), version.modelJson);
    if (version.corrections !== null) await writeSynced(join(temporary, CORRECTIONS_FILE), version.corrections);
    await writeSynced(join(temporary, 'manifest.json'), manifest);
    await syncFolder(temporary);
    await rename(temporary, join(parent, digest));
    await syncFolder(parent);
  } catch (error) {
    // Another process published the same, in the same millisecond.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await loadVersionFolder(join(parent, digest), version.manifest.model, digest);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return digest;
}

/**
 * Reads a version's folder, less the weights: their digest is checked when they are read, their size here.
 * @throws ServiceError `bad_model` where the files are not those that the digest stands for
 */
export async function loadVersionFolder(
  folder: string,
  model: string,
  digest: string,
): Promise<{ manifest: Manifest; graph: Graph }> {
  const [text, modelJson, weights] = await Promise.all([
    readFile(join(folder, 'manifest.json')),
    readFile(join(folder, 'model.json')),
    stat(join(folder, WEIGHTS_FILE)),
  ]).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw badModel(`${model}/${digest}`, 'three files', error.code);
    throw error;
  });
  checkDigest('manifest.json', text, digest);
  const manifest = parseManifest(text.toString());
  if (manifest.model !== model) throw badModel('manifest.json: model', model, manifest.model);
  checkDigest('model.json', modelJson, manifest.files['model.json']);
  const document = parseDocument(modelJson);
  const { graph } = importModel(document);
  checkAgainstGraph(manifest, graph);
  const groups = parseWeightsManifest((document as Record<string, unknown>).weightsManifest) ?? [];
  const bytes = groups.flatMap((group) => group.weights).reduce((sum, entry) => sum + entry.bytes, 0);
  if (weights.size !== bytes) throw badModel(WEIGHTS_FILE, `${bytes} bytes`, weights.size);
  const { bias_corrections: index } = manifest.quantizer;
  if (index !== undefined) {
    const corrections = await readCorrectionsFile(folder, manifest);
    for (const key of Object.keys(index.offsets)) decodeCorrections(index, corrections, key);
  }
  return { manifest, graph };
}

/** A version answers with a class of its labels for an image of its input spec. */
function checkAgainstGraph({ input, labels, quantizer }: Manifest, graph: Graph): void {
  const shapeOf = (name: string) => graph.nodes.find((node) => node.name === name)?.shape ?? [];
  const given = shapeOf(graph.input);
  const fits = given.length === 1 ? elements(input.shape) === given[0] : `${given}` === `${input.shape}`;
  if (!fits) throw badModel('manifest.json: input: shape', `the model's input [${given.join(', ')}]`, input.shape);
  const output = shapeOf(graph.output);
  if (output.length !== 1 || output[0] !== labels.length) {
    throw badModel('model.json: output', `[${labels.length}], one number for each label`, output);
  }
  for (const { name, channels } of quantizer.bias_corrections?.layers ?? []) {
    const node = graph.nodes.find((n) => n.name === name && ('kernel' in n || n.op === 'batch_norm'));
    const expected = node?.shape.at(-1);
    const where = `manifest.json: quantizer: bias_corrections: layer "${name.slice(0, 80)}"`;
    if (expected === undefined) throw badModel(where, 'a layer of the model that has weights', undefined);
    if (channels !== expected) throw badModel(where, `${expected} channels`, channels);
  }
}

function toJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    // Too deep, or a cycle.
    throw new ServiceError('bad_model', `model: expected what JSON can hold, got ${(error as Error).message}`);
  }
}
