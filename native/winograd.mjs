#!/usr/bin/env node
/**
 * The direct and the Winograd way of 3×3 convolutions side by side, by turns in one process: whole nets, and single
 * layers as the difference between five of them and one. `node native/winograd.mjs [net | height×channels …] [--bits=4]
 * [--activations=4] [--batch=1,32] [--threads=1] [--use=where-it-pays|always|always-large] [--rounds=41]
 * [--quantile=0.5]`
 */
import { NativeEngine } from '../dist/src/engine/native.js';
import { fuseGraph } from '../dist/src/quantize/fuse.js';
import { builder, NETS } from './test/nets.mjs';

const option = (name, fallback) => process.argv.find((a) => a.startsWith(`--${name}=`))?.split('=')[1] ?? fallback;
const list = (name, fallback) => option(name, fallback).split(',').map(Number);
/** The median, or --quantile=0.1 where the machine does other things too. */
const quantile = Number(option('quantile', '0.5'));
const typical = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length * quantile)];
const given = process.argv.slice(2).filter((a) => !a.startsWith('--'));
const names = given.length > 0 ? given : ['resnet18', 'vgg', '32x64', '16x128', '8x256', '4x512'];
const threads = Number(option('threads', '1'));
const uses = ['never', option('use', 'where-it-pays')];
const engines = await Promise.all(
  uses.map((winograd) => NativeEngine.create({ threads, winograd, isa: 'avx512-vnni' })),
);

function layers(size, channels, count) {
  const b = builder([size, size, channels]);
  for (let i = 0; i <= count; i++) {
    b.conv(channels, i === 0 ? 1 : 3);
    b.relu();
  }
  b.gap();
  return b.net();
}

function sourceOf({ graph, weights }) {
  const ranges = {};
  for (const tensor of fuseGraph(graph).tensors.values()) {
    const [min, max] = tensor.role === 'sum-operand' ? [-4, 4] : [0, 4];
    ranges[tensor.name] = { min, max, clip: Object.fromEntries([2, 3, 4, 5, 6, 7, 8].map((b) => [b, [min, max]])) };
  }
  const input = { shape: graph.nodes[0].shape, range: [-1, 1], resize: 'fill' };
  const manifest = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
  return { graph, manifest, folder: '', readWeights: async () => weights };
}

for (const name of names) {
  const [size, channels] = name.split('x').map(Number);
  const nets = NETS[name] ? [NETS[name]()] : [layers(size, channels, 5), layers(size, channels, 1)];
  const sources = nets.map(sourceOf);
  const elements = sources[0].manifest.input.shape.reduce((a, b) => a * b, 1);
  for (const bits of list('bits', '4')) {
    const precision = { weightBits: bits, activationBits: Number(option('activations', bits)) };
    const variants = await Promise.all(engines.map((e) => Promise.all(sources.map((s) => e.build(s, precision)))));
    const taken = variants[1][0].plan.ops.filter((_, i) => {
      const { winogradBlocks, winogradRowBlocks, winogradLargeBlocks } = engines[1].inspect(variants[1][0], i);
      return winogradBlocks + winogradRowBlocks + winogradLargeBlocks > 0;
    }).length;
    for (const batch of list('batch', '1,32')) {
      const input = Float32Array.from({ length: batch * elements }, () => Math.random() * 2 - 1);
      const times = engines.map(() => sources.map(() => []));
      for (let round = -1; round < Number(option('rounds', '41')) / (batch > 1 ? 4 : 1); round++) {
        for (let e = 0; e < 2; e++) {
          for (let s = 0; s < sources.length; s++) {
            // The first run of a burst finds the caches as the other way left them.
            for (let i = 0; i < (batch > 1 ? 2 : 4); i++) {
              const { computeMs } = await engines[e].run(variants[e][s], input, batch);
              if (round >= 0 && i > 0) times[e][s].push(computeMs);
            }
          }
        }
      }
      const [direct, winograd] = times.map((t) => (t[1] ? (typical(t[0]) - typical(t[1])) / 4 : typical(t[0])));
      console.log(
        `${name.padEnd(8)} ${bits}x${precision.activationBits} batch ${batch}: direct ${direct.toFixed(3)} ms, ` +
          `Winograd ${winograd.toFixed(3)} ms (exact for ${taken} ops), ratio ${(direct / winograd).toFixed(2)}`,
      );
    }
    for (const [e, built] of variants.entries()) for (const v of built) engines[e].release(v);
  }
}
await Promise.all(engines.map((e) => e.close()));
