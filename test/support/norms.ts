import type { Graph, Weights } from '../../src/model/graph.js';
import { runNaively } from './naive.js';

/**
 * Gives every batch norm the statistics of what really comes to it, as training would: layer after layer, on the images.
 * Changes the weights in place.
 */
export function measureNorms(graph: Graph, weights: Weights, images: Float32Array[]): void {
  for (const node of graph.nodes) {
    if (node.op !== 'batch_norm') continue;
    const channels = node.shape.at(-1) as number;
    const seen = images.map((image) => runNaively(graph, weights, image).get(node.inputs[0]) as Float64Array);
    const count = (seen.length * seen[0].length) / channels;
    const [mean, square] = [new Float64Array(channels), new Float64Array(channels)];
    for (const values of seen) {
      values.forEach((v, i) => {
        mean[i % channels] += v / count;
        square[i % channels] += (v * v) / count;
      });
    }
    weights.set(node.mean, { shape: [channels], data: Float32Array.from(mean) });
    const variance = Float32Array.from(square, (s, c) => Math.max(0, s - mean[c] * mean[c]));
    weights.set(node.variance, { shape: [channels], data: variance });
  }
}
