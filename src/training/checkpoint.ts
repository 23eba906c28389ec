/**
 * A training between two epochs, in a file that the rest of it can be done from, bit for bit as if it had not been cut off:
 *
 *     "bitdial-checkpoint/1\n" | header bytes, uint32 | header, JSON | tensors, float32 | SHA-256 of all before it
 *
 * all little-endian, tensors in the header's order without gaps. Random numbers need no place in it: every stream is seeded
 * by the request's seed and the epoch or step.
 */
import { readFile, rm } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { hashOf, sha256 } from '../model/digest.js';
import { replaceFile } from '../model/durable.js';
import type { Graph, Weights } from '../model/graph.js';
import { elements } from '../model/shapes.js';
import type { Dataset } from './datasets/dataset.js';
import type { Notice, TrainRequest } from './request.js';
import type { State, Stateful } from './state.js';

/** Where a training is after its last whole epoch. */
export interface Course {
  /** Epochs done. */
  epoch: number;
  history: Record<string, number>[];
  /** On the validation part, at the end of the last epoch. */
  accuracy: number | null;
  /** That the epochs took. */
  seconds: number;
}

/** The number counts up where the content of a state, or what training does with it, changes. */
const MAGIC = Buffer.from('bitdial-checkpoint/1\n');
const DIGEST_BYTES = 32;
const LENGTH_BYTES = 4;

interface Header {
  key: string;
  course: Course;
  numbers: Record<string, Record<string, number>>;
  /** Names of each state's groups, also of those without a tensor. */
  groups: Record<string, string[]>;
  tensors: { state: string; group: string; name: string; shape: number[] }[];
}

/** The checkpoint file of one training. No fault of the file ends the training: what cannot be used is said and left out. */
export class Checkpoint {
  readonly #path: string;
  readonly #key: string;
  readonly #states: Record<string, Stateful>;
  readonly #notice: Notice;

  /** @param key of {@link trainingKey}: a file with another one is of another training */
  constructor(path: string, key: string, states: Record<string, Stateful>, notice: Notice = () => undefined) {
    this.#path = path;
    this.#key = key;
    this.#states = states;
    this.#notice = notice;
  }

  /** Puts the states as they were; null, and nothing is changed, where there is no file that fits. */
  async load(): Promise<Course | null> {
    let bytes: Buffer;
    try {
      bytes = await readFile(this.#path);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.#notice('warn', `the checkpoint cannot be read and is not used: ${message}`);
      return null;
    }
    try {
      const { header, data } = parse(bytes);
      this.#check(header);
      this.#restore(header, data);
      this.#notice('info', `training goes on after ${header.course.epoch} epochs, from checkpoint ${this.#path}`);
      return header.course;
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      this.#notice('warn', `checkpoint ${this.#path} is not used: ${error.message}`);
      return null;
    }
  }

  /** Replaces the file in one step, durable when the promise resolves; to false where that failed. */
  async save(course: Course): Promise<boolean> {
    try {
      await replaceFile(this.#path, this.#encode(course));
      return true;
    } catch (error) {
      this.#notice('warn', `the checkpoint cannot be written: ${(error as Error).message}`);
      return false;
    }
  }

  #check({ key, numbers, groups }: Header): void {
    if (key !== this.#key) throw new Unusable('it belongs to another training or backend');
    const layout = Object.entries(this.#states).map(([name, part]) => layoutOf(name, part.state()));
    const found = Object.keys(groups).map((name) => [name, Object.keys(numbers[name] ?? {}), groups[name]]);
    if (hashOf(layout) !== hashOf(found)) throw new Unusable('it holds other states than this training has');
  }

  #restore({ numbers, groups, tensors }: Header, data: Buffer): void {
    const states: Record<string, State> = {};
    for (const [name, held] of Object.entries(groups)) {
      states[name] = { numbers: numbers[name], tensors: Object.fromEntries(held.map((group) => [group, {}])) };
    }
    let offset = 0;
    for (const { state, group, name, shape } of tensors) {
      const values = new Float32Array(elements(shape));
      data.copy(new Uint8Array(values.buffer), 0, offset, offset + values.byteLength);
      offset += values.byteLength;
      states[state].tensors[group][name] = tf.keep(tf.tensor(values, shape, 'float32'));
    }
    for (const [name, state] of Object.entries(states)) this.#states[name].restore(state);
  }

  #encode(course: Course): Buffer {
    const header: Header = { key: this.#key, course, numbers: {}, groups: {}, tensors: [] };
    const chunks: Buffer[] = [];
    for (const [state, part] of Object.entries(this.#states)) {
      const { numbers, tensors } = part.state();
      header.numbers[state] = numbers;
      header.groups[state] = Object.keys(tensors);
      for (const [group, named] of Object.entries(tensors)) {
        for (const [name, tensor] of Object.entries(named)) {
          const { buffer, byteOffset, byteLength } = tensor.dataSync() as Float32Array;
          header.tensors.push({ state, group, name, shape: tensor.shape });
          chunks.push(Buffer.from(buffer, byteOffset, byteLength));
        }
      }
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32LE(text.length);
    const content = Buffer.concat([MAGIC, length, text, ...chunks]);
    return Buffer.concat([content, Buffer.from(sha256(content), 'hex')]);
  }
}

/** Whether a file is none of ours, and so not to be written over. */
export async function isForeign(path: string): Promise<boolean> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  return bytes !== null && !bytes.subarray(0, MAGIC.length).equals(MAGIC);
}

export async function removeCheckpoint(path: string): Promise<void> {
  await rm(path, { force: true });
}

/**
 * A digest of all that the course of a training depends on: request, net, first weights, data, backend, and the commit of
 * this project where it is known. What only names the result is left out; so are the fields that the net and its first
 * weights stand for.
 */
export function trainingKey(
  { model: _model, from: _from, architecture: _architecture, publish: _publish, ...recipe }: TrainRequest,
  graph: Graph,
  start: Weights,
  dataset: Dataset,
  { backend, commit = null }: { backend: string; commit?: string | null },
): string {
  const weights = [...start].map(([weight, { shape, data }]) => {
    return [weight, shape, sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
  });
  const { name, inputShape, inputRange, channelRanges, labels, augmentation, lossWeights, train, validation } = dataset;
  const used = { augmentation, lossWeights: lossWeights ? [...lossWeights] : null };
  const data = {
    name,
    inputShape,
    inputRange,
    channelRanges,
    labels,
    ...used,
    train: train.size,
    validation: validation.size,
    content: dataset.content ?? null,
  };
  return hashOf({ recipe, graph, weights, data, backend, commit });
}

/** Why a file cannot be gone on from. */
class Unusable extends Error {}

function parse(bytes: Buffer): { header: Header; data: Buffer } {
  const begin = MAGIC.length + LENGTH_BYTES;
  if (bytes.length < begin + DIGEST_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new Unusable('it is not a checkpoint that this version writes');
  }
  const content = bytes.subarray(0, -DIGEST_BYTES);
  if (sha256(content) !== bytes.subarray(-DIGEST_BYTES).toString('hex')) {
    throw new Unusable('it is not whole: its digest is that of other bytes');
  }
  const end = begin + content.readUInt32LE(MAGIC.length);
  return { header: JSON.parse(content.toString('utf8', begin, end)) as Header, data: content.subarray(end) };
}

function layoutOf(name: string, { numbers, tensors }: State): [string, string[], string[]] {
  return [name, Object.keys(numbers), Object.keys(tensors)];
}
