#!/usr/bin/env node
/**
 * A probe of the native engine by itself, to see what a change of a kernel does: nets with random weights, minima and
 * medians of many short runs. `node native/bench.mjs [net …] [--bits=8,4,2] [--batch=1,32] [--threads=1] [--isa=…]
 * [--runs=20]`. The comparison with other engines is in bench/.
 */
import { NativeEngine } from '../dist/src/engine/native.js';
import { fuseGraph } from '../dist/src/quantize/fuse.js';
import { NETS } from './test/nets.mjs';

const option = (name, fallback) => process.argv.find((a) => a.startsWith(`--${name}=`))?.split('=')[1] ?? fallback;
const list = (name, fallback) => option(name, fallback).split(',').map(Number);
const names = process.argv.slice(2).filter((a) => !a.startsWith('--'));
const engine = await NativeEngine.create({ threads: Number(option('threads', '1')), isa: option('isa', undefined) });

for (const name of names.length > 0 ? names : Object.keys(NETS)) {
  const { graph, weights } = NETS[name]();
  const shape = graph.nodes[0].shape;
  const size = shape.reduce((a, b) => a * b, 1);
  const ranges = {};
  for (const tensor of fuseGraph(graph).tensors.values()) {
    const [min, max] = tensor.role === 'sum-operand' ? [-4, 4] : [0, 4];
    ranges[tensor.name] = { min, max, clip: Object.fromEntries([2, 3, 4, 5, 6, 7, 8].map((b) => [b, [min, max]])) };
  }
  const manifest = {
    input: { shape, range: [-1, 1], resize: 'fill' },
    ranges,
    quantizer: { clip_rules: {}, minimum_bits: {} },
  };
  const source = { graph, manifest, folder: '', readWeights: async () => weights };
  let count = 0;
  for (const { data } of weights.values()) count += data.length;
  for (const bits of list('bits', '8,4,2')) {
    const a = Math.min(bits, bits > 8 ? 32 : 8);
    const built = [];
    let variant;
    for (let i = 0; i < Number(option('builds', '3')); i++) {
      if (variant) engine.release(variant);
      variant = await engine.build(source, { weightBits: bits, activationBits: a });
      built.push(variant.buildMs);
    }
    const { macs } = variant.plan;
    const share = variant.memoryBytes / ((count * bits) / 8);
    const line = [
      name.padEnd(10),
      `${bits} bits`,
      `build ${Math.min(...built).toFixed(1)} ms`,
      `bytes ${share.toFixed(3)}`,
    ];
    for (const batch of list('batch', '1,32')) {
      const input = Float32Array.from({ length: batch * size }, () => Math.random() * 2 - 1);
      const times = [];
      const runs = Math.max(3, Math.ceil(Number(option('runs', '30')) / batch));
      for (let i = 0; i < runs; i++) times.push((await engine.run(variant, input, batch)).computeMs);
      times.sort((x, y) => x - y);
      const [least, median] = [times[0], times[times.length >> 1]];
      const rate = (macs * batch) / least / 1e6;
      line.push(`batch ${batch}: ${least.toFixed(3)} (median ${median.toFixed(3)}) ms, ${rate.toFixed(0)} GMAC/s`);
    }
    console.log(line.join(' | '));
    engine.release(variant);
  }
}
await engine.close();
