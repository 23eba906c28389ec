import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import { TfjsPlan } from '../../src/engine/tfjs.js';
import { buildPlan } from '../../src/quantize/build.js';
import type { Width } from '../../src/quantize/precision.js';
import { type BackendName, loadBackend } from '../../src/tensorflow/backend.js';
import { randomNet } from '../support/nets.js';
import { Random } from '../support/random.js';

before(() => loadBackend((process.env.TRAINING_BACKEND ?? 'wasm') as BackendName));

/** Share of the largest reference logit by which one code more or less may move an answer of these small nets. */
const TOLERANCE = 0.06;

test('logits of random nets agree with the reference engine, most of them to float32 rounding', async () => {
  const pairs: [Width, Width][] = [
    [2, 2],
    [3, 3],
    [4, 4],
    [5, 5],
    [8, 8],
    [4, 8],
    [2, 32],
    [32, 3],
    [16, 16],
    [32, 32],
  ];
  let close = 0;
  let all = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const { graph, weights } = randomNet(random, random.integer(1, 8));
    const shape = graph.nodes[0].shape as [number, number, number];
    const input = { shape, range: [-1, 1] as [number, number], resize: 'fill' as const };
    const size = shape.reduce((a, b) => a * b, 1);
    const draw = (batch: number) => Float32Array.from({ length: batch * size }, () => 2 * random.next() - 1);
    const ranges = calibrate(graph, weights, input, [{ input: draw(4), batch: 4 }]);
    const [weightBits, activationBits] = pairs[seed % pairs.length];
    const source = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
    const plan = buildPlan(graph, weights, source, { weightBits, activationBits });
    const images = draw(3);
    const want = runPlan(plan, images, 3);
    const here = new TfjsPlan(plan);
    const tensors = tf.memory().numTensors;
    const got = await here.run(images, 3);
    assert.equal(tf.memory().numTensors, tensors, 'a run leaves no tensors behind');
    here.dispose();
    const norm = Math.max(...want.map(Math.abs), 1e-3);
    const distance = Math.max(...want.map((v, i) => Math.abs(v - got[i]))) / norm;
    all++;
    if (distance < 1e-4) close++;
    assert.ok(distance < TOLERANCE, `seed ${seed}, ${weightBits}x${activationBits}: ${distance} of the largest logit`);
  }
  assert.ok(close >= 0.9 * all, `${close} of ${all} within 1e-4`);
});
