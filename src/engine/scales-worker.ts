import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import type { Graph, Weights } from '../model/graph.js';
import { outline } from '../quantize/build.js';
import { foldedWeights } from '../quantize/fold.js';
import { fuseGraph } from '../quantize/fuse.js';
import type { Precision } from '../quantize/precision.js';
import { channelScale } from '../quantize/scales.js';
import type { QuantizerSource } from '../quantize/storage.js';
import { clipRule } from './native-plan.js';

export interface ScalesTask {
  graph: Graph;
  source: QuantizerSource;
  precision: Precision;
  weights: Weights;
}

export interface ScalesReply {
  scales: Float32Array[];
}

/** One scale for each row of each layer that is stored as codes, in the order of the ops. */
export function scalesOf({ graph, source, precision, weights }: ScalesTask): Float32Array[] {
  const fused = fuseGraph(graph);
  const { plan } = outline(fused, source, precision);
  const rule = clipRule(source.quantizer, precision);
  const scales: Float32Array[] = [];
  fused.ops.forEach((op, i) => {
    const planOp = plan.ops[i];
    if (op.kind === 'other' || !('weights' in planOp) || planOp.weights.bits > 8) return;
    const { kernel, rows, columns } = foldedWeights(op, weights);
    const { bits } = planOp.weights;
    scales.push(
      Float32Array.from({ length: rows }, (_, row) =>
        channelScale(kernel.subarray(row * columns, (row + 1) * columns), bits, rule),
      ),
    );
  });
  return scales;
}

if (!isMainThread && parentPort) {
  const reply: ScalesReply = { scales: scalesOf(workerData as ScalesTask) };
  parentPort.postMessage(reply);
}
