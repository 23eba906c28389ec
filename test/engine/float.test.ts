import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPlan } from '../../src/engine/reference.js';
import { buildPlan } from '../../src/quantize/build.js';
import { runNaively } from '../support/naive.js';
import { randomNet } from '../support/nets.js';
import { Random } from '../support/random.js';

const SOURCE = {
  input: { shape: [1, 1, 1] as [number, number, number], range: [-1, 1] as [number, number], resize: 'fill' as const },
  ranges: {},
  quantizer: { clip_rules: {}, minimum_bits: {} },
};

function logitsName(graph: ReturnType<typeof randomNet>['graph']): string {
  const last = graph.nodes.at(-1)!;
  return last.op === 'softmax' ? last.inputs[0] : last.name;
}

test('at 32 bits 200 random nets of every op agree with a float64 run of the graph, fused and folded or not', () => {
  const ops = new Set<string>();
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const { graph, weights } = randomNet(random, random.integer(1, 12));
    for (const node of graph.nodes) ops.add(node.op);
    const size = graph.nodes[0].shape.reduce((a, b) => a * b, 1);
    const batch = random.integer(1, 10);
    const input = random.normals(batch * size);
    const plan = buildPlan(graph, weights, SOURCE, { weightBits: 32, activationBits: 32 });
    const logits = runPlan(plan, input, batch);
    const classes = logits.length / batch;
    for (let n = 0; n < batch; n++) {
      const want = runNaively(graph, weights, input.subarray(n * size, (n + 1) * size)).get(logitsName(graph))!;
      const norm = Math.max(...want.map(Math.abs), 1e-3);
      want.forEach((v, c) => {
        const got = logits[n * classes + c];
        assert.ok(Math.abs(got - v) <= 1e-4 * norm, `seed ${seed}, image ${n}, class ${c}: expected ${v}, got ${got}`);
      });
    }
  }
  assert.equal(ops.size, 15, `every op should have been used, these were: ${[...ops]}`);
});

test('float16 weights and activations stay near float32', () => {
  for (let seed = 300; seed < 330; seed++) {
    const random = new Random(seed);
    const { graph, weights } = randomNet(random, 6);
    const size = graph.nodes[0].shape.reduce((a, b) => a * b, 1);
    const input = random.normals(size);
    const run = (bits: 16 | 32) =>
      runPlan(buildPlan(graph, weights, SOURCE, { weightBits: bits, activationBits: bits }), input, 1);
    const [half, full] = [run(16), run(32)];
    const norm = Math.max(...full.map(Math.abs), 0.1);
    full.forEach((v, c) => {
      assert.ok(Math.abs(half[c] - v) <= 0.02 * norm, `seed ${seed}: expected about ${v}, got ${half[c]}`);
    });
    assert.notDeepEqual(half, full, 'float16 must round something');
  }
});

test('an input of the wrong length is refused in numbers', () => {
  const { graph, weights } = randomNet(new Random(5), 2);
  const plan = buildPlan(graph, weights, SOURCE, { weightBits: 32, activationBits: 32 });
  assert.throws(() => runPlan(plan, new Float32Array(3), 1), /expected 1 × \d+ numbers, got 3/);
});
