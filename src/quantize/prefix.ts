import type { FusedAffine, FusedGraph, FusedLinear, FusedOp, FusedTensor } from './fuse.js';

/**
 * The part of a graph that gives one layer's result, as it is before anything is added to it, clamped or rounded: that is
 * its answer, in float32. All tensors before it are stored as they are in the whole graph.
 */
export function prefixTo(graph: FusedGraph, layer: FusedLinear | FusedAffine): FusedGraph {
  const makers = new Map(graph.ops.map((op) => [op.output, op]));
  const wanted = new Set(layer.inputs);
  const ops = new Set<FusedOp>();
  // A tensor comes after all that it is made of.
  for (const { name, storageOf } of [...graph.tensors.values()].reverse()) {
    if (!wanted.has(name)) continue;
    if (storageOf !== null) wanted.add(storageOf);
    const op = makers.get(name);
    if (op === undefined) continue;
    ops.add(op);
    for (const input of op.inputs) wanted.add(input);
    if (op.kind === 'linear' && op.residual !== null) wanted.add(op.residual);
  }
  const bounds = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const last: FusedOp = layer.kind === 'linear' ? { ...layer, bounds, residual: null } : { ...layer, bounds };
  const kept = [...graph.tensors.values()].filter(({ name }) => wanted.has(name));
  const result = graph.tensors.get(layer.output) as FusedTensor;
  kept.push({ ...result, role: 'logits' });
  return {
    ops: [...graph.ops.filter((op) => ops.has(op)), last],
    tensors: new Map(kept.map((tensor) => [tensor.name, tensor])),
    input: graph.input,
    output: layer.output,
  };
}
