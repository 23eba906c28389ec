/**
 * Those that are compared. Each takes float32 NHWC images (or the same in NCHW, where that is its own layout) and gives
 * float32 logits; its time is that of the whole call as a program in Node sees it.
 *
 * @typedef {{name: string, run: () => Promise<Float32Array>, computeMs?: number, restMs?: number,
 *   close?: () => Promise<void> | void}} Contestant  restMs: what its turn leaves to other threads is over by then
 */
import * as tf from '@tensorflow/tfjs-core';
import ort from 'onnxruntime-node';
import { matMulNBitsModel } from './nbits.mjs';
import { images } from './nets.mjs';
import { floatModel, int8Model } from './ort-models.mjs';

/** One engine of ours; `precision` is WxA. */
export function ours(engine, variant, input, batch) {
  const { weightBits, activationBits } = variant.precision;
  const contestant = {
    name: `ours ${weightBits}x${activationBits}`,
    bits: weightBits,
    /** Of the last run, without the way to the engine's threads and back. */
    computeMs: 0,
    async run() {
      const { logits, computeMs } = await engine.run(variant, input, batch);
      contestant.computeMs = computeMs;
      return logits;
    },
    close: () => engine.release(variant),
  };
  return contestant;
}

function sessionOptions(threads) {
  return {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Its threads spin while it runs, as by default, but do not go on when another one's turn has come.
    extra: { session: { force_spinning_stop: '1' } },
  };
}

/** NHWC to NCHW, outside the measured time. */
function planar(net, input, batch) {
  if (net.shape.length !== 3) return input;
  const [h, w, c] = net.shape;
  const out = new Float32Array(input.length);
  for (let n = 0; n < batch; n++) {
    for (let p = 0; p < h * w; p++) {
      for (let k = 0; k < c; k++) out[(n * c + k) * h * w + p] = input[(n * h * w + p) * c + k];
    }
  }
  return out;
}

export async function onnxRuntime(name, model, net, input, batch, threads) {
  const session = await ort.InferenceSession.create(model, sessionOptions(threads));
  const [h, w, c] = net.shape;
  const dims = net.shape.length === 3 ? [batch, c, h, w] : [batch, ...net.shape];
  const feeds = { [net.graph.input]: new ort.Tensor('float32', planar(net, input, batch), dims) };
  const output = session.outputNames[0];
  return { name, run: async () => (await session.run(feeds))[output].data, close: () => session.release() };
}

/** ONNX Runtime's forms of a net; `dense` adds the ways it has for a single dense layer. */
export async function onnxRuntimes(net, input, batch, threads, extremes) {
  const make = (name, model) => onnxRuntime(name, model, net, input, batch, threads);
  const list = [
    await make('ort int8', int8Model(net, batch, extremes)),
    await make('ort fp32', floatModel(net, batch)),
  ];
  if (net.name !== 'dense4096') return list;
  list.push(await make('ort int8 QLinearMatMul', int8Model(net, batch, extremes, 'QLinearMatMul')));
  for (const bits of [8, 4, 2]) {
    for (const block of [32, 128]) {
      try {
        const model = matMulNBitsModel(net, batch, bits, block);
        list.push(Object.assign(await make(`ort MatMulNBits ${bits} bits, block ${block}`, model), { bits }));
      } catch (error) {
        console.error(`MatMulNBits ${bits} bits, block ${block}: ${error.message}`);
      }
    }
  }
  return list;
}

let layers = null;

/** TF.js with its wasm backend (SIMD, one thread: its threads do not load in Node). */
export async function tensorflowJs(net, input, batch) {
  layers ??= await loadTensorflowJs();
  const weightSpecs = [];
  const parts = [];
  for (const [name, { shape, data }] of net.weights) {
    weightSpecs.push({ name, shape, dtype: 'float32' });
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
  const all = Buffer.concat(parts);
  const weightData = all.buffer.slice(all.byteOffset, all.byteOffset + all.length);
  const artifacts = { modelTopology: net.document.modelTopology, weightSpecs, weightData };
  const model = await layers.loadLayersModel({ load: async () => artifacts });
  const x = tf.tensor(input, [batch, ...net.shape]);
  const run = async () => tf.tidy(() => model.predict(x, { batchSize: batch }).dataSync());
  const close = () => {
    x.dispose();
    model.dispose();
  };
  return { name: 'tfjs wasm', run, restMs: 3, close };
}

async function loadTensorflowJs() {
  tf.env().set('PROD', true);
  const { createRequire } = await import('node:module');
  const { dirname, sep } = await import('node:path');
  const entry = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  const wasm = (await import('@tensorflow/tfjs-backend-wasm')).default;
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  tf.env().set('WASM_HAS_SIMD_SUPPORT', true);
  wasm.setWasmPaths(dirname(entry) + sep);
  if (!(await tf.setBackend('wasm'))) throw new Error('the wasm backend did not start');
  await tf.ready();
  return import('@tensorflow/tfjs-layers');
}

/** Everybody for one net, batch and number of threads. */
export async function peers(net, calibration, batch, threads) {
  const input = images(net, batch);
  const list = await onnxRuntimes(net, input, batch, threads, calibration.extremes);
  if (threads === 1) list.push(await tensorflowJs(net, input, batch));
  return list;
}
