import { Worker } from 'node:worker_threads';
import type { Precision } from '../quantize/precision.js';
import type { QuantizerSource } from '../quantize/storage.js';
import type { VariantSource } from './engine.js';
import type { ScalesReply, ScalesTask } from './scales-worker.js';

/**
 * Scales of every layer stored as codes, by the rule of a precision, computed in TypeScript on a thread of their own. It
 * is for p = 2.4, whose powers native code could round otherwise than JavaScript does.
 */
export async function givenScales(source: VariantSource, precision: Precision): Promise<Float32Array[]> {
  const { input, ranges, quantizer } = source.manifest;
  const quantizerSource: QuantizerSource = { input, ranges, quantizer };
  const { graph } = source;
  const task: ScalesTask = { graph, source: quantizerSource, precision, weights: await source.readWeights() };
  const worker = new Worker(new URL('./scales-worker.js', import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    worker.once('message', ({ scales }: ScalesReply) => resolve(scales));
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread that finds scales ended early')));
  });
}
