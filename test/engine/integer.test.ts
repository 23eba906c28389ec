import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calibrate } from '../../src/engine/calibration.js';
import { runPlan } from '../../src/engine/reference.js';
import { bytesAt, floatsAt, intsAt } from '../../src/quantize/arena.js';
import { buildPlan, planBytes } from '../../src/quantize/build.js';
import type { Plan, PlanOp } from '../../src/quantize/plan.js';
import type { Precision, Width } from '../../src/quantize/precision.js';
import { randomNet } from '../support/nets.js';
import { Random } from '../support/random.js';

function quantizedNet(seed: number, precision: Precision, layers = 8) {
  const random = new Random(seed);
  const { graph, weights } = randomNet(random, random.integer(1, layers));
  const shape = graph.nodes[0].shape as [number, number, number];
  const size = shape.reduce((a, b) => a * b, 1);
  const input = {
    shape,
    range: random.pick([
      [0, 1],
      [-1, 1],
    ] as [number, number][]),
    resize: 'fill' as const,
  };
  const draw = (batch: number) =>
    Float32Array.from(
      { length: batch * size },
      () => input.range[0] + random.next() * (input.range[1] - input.range[0]),
    );
  const ranges = calibrate(graph, weights, input, [{ input: draw(4), batch: 4 }]);
  const source = { input, ranges, quantizer: { clip_rules: {}, minimum_bits: {} } };
  return { graph, weights, source, plan: buildPlan(graph, weights, source, precision), draw, random };
}

/** Code i of a row-major matrix of packed codes, bit by bit: no code shared with the engine. */
function codeAt(packed: Uint8Array, bits: number, i: number): number {
  let code = 0;
  for (let b = 0; b < bits; b++) {
    const bit = i * bits + b;
    code |= ((packed[bit >> 3] >> (bit & 7)) & 1) << b;
  }
  return code - 2 ** (bits - 1);
}

/** Real values of a tensor's codes. */
function real(plan: Plan, index: number, values: ArrayLike<number>): Float64Array {
  const { storage } = plan.tensors[index];
  return Float64Array.from(values, (q) => (storage.kind === 'codes' ? storage.scale * (q - storage.zeroPoint) : q));
}

type Seen = Map<number, ArrayLike<number>>;

function valuesOf(plan: Plan, seen: Seen, index: number): ArrayLike<number> {
  const { viewOf } = plan.tensors[index];
  return viewOf === null ? seen.get(index)! : valuesOf(plan, seen, viewOf);
}

/** What an op should give for one image, in float64 real values, from the stored inputs and the stored weights. */
function expected(plan: Plan, op: PlanOp, seen: Seen): Float64Array {
  const out = plan.tensors[op.output];
  const inputs = ('inputs' in op ? op.inputs : [op.input]).map((i) => real(plan, i, valuesOf(plan, seen, i)));
  const [x] = inputs;
  const length = out.height * out.width * out.channels;
  const result = new Float64Array(length);
  const source = plan.tensors['inputs' in op ? op.inputs[0] : op.input];
  const at = (y: number, xx: number, c: number) =>
    y < 0 || xx < 0 || y >= source.height || xx >= source.width
      ? null
      : x[(y * source.width + xx) * source.channels + c];
  if (op.op === 'add') return result.map((_, i) => inputs.reduce((sum, v) => sum + v[i], 0));
  if (op.op === 'requantize') return x;
  if (op.op === 'concat') {
    const joined: number[] = [];
    for (let o = 0; o < op.outer; o++) {
      inputs.forEach((v, n) => {
        joined.push(...v.subarray(o * op.inner[n], (o + 1) * op.inner[n]));
      });
    }
    return Float64Array.from(joined);
  }
  for (let i = 0; i < length; i++) {
    const [oy, ox, c] = [
      Math.floor(i / (out.width * out.channels)),
      Math.floor(i / out.channels) % out.width,
      i % out.channels,
    ];
    if (op.op === 'pad') {
      result[i] = at(oy - op.top, ox - op.left, c) ?? 0;
      continue;
    }
    const window: { k: number; y: number; xx: number }[] = [];
    if (op.op !== 'dense') {
      for (let ky = 0; ky < op.kernelHeight; ky++)
        for (let kx = 0; kx < op.kernelWidth; kx++)
          window.push({
            k: ky * op.kernelWidth + kx,
            y: oy * op.strideHeight - op.padTop + ky * op.dilationHeight,
            xx: ox * op.strideWidth - op.padLeft + kx * op.dilationWidth,
          });
    }
    if (op.op === 'max_pool' || op.op === 'avg_pool') {
      const inside = window.map(({ y, xx }) => at(y, xx, c)).filter((v) => v !== null);
      result[i] = op.op === 'max_pool' ? Math.max(...inside) : inside.reduce((a, b) => a + b, 0) / inside.length;
      continue;
    }
    const { bits, columns, codes } = op.weights;
    const packed = bytesAt(plan.arena, codes);
    const outputScale = out.storage.kind === 'codes' ? out.storage.scale : 1;
    const inputScale = source.storage.kind === 'codes' ? source.storage.scale : 1;
    const scale = (floatsAt(plan.arena, op.multipliers!)[c] * outputScale) / inputScale;
    const w = (k: number) => codeAt(packed, bits, c * columns + k) * scale;
    let sum = intsAt(plan.arena, op.bias)[c] * inputScale * scale;
    if (op.op === 'dense') for (let k = 0; k < columns; k++) sum += x[k] * w(k);
    else if (op.op === 'depthwise_conv2d') {
      for (const { k, y, xx } of window) sum += (at(y, xx, Math.floor(c / op.multiplier)) ?? 0) * w(k);
    } else {
      for (const { k, y, xx } of window)
        for (let ch = 0; ch < source.channels; ch++) sum += (at(y, xx, ch) ?? 0) * w(k * source.channels + ch);
    }
    result[i] = sum;
    if (op.residual) result[i] += real(plan, op.residual.tensor, valuesOf(plan, seen, op.residual.tensor))[i];
  }
  return result;
}

const INTEGER_WIDTHS: Width[] = [2, 3, 4, 5, 6, 7, 8];

test('every op of random integer nets gives the nearest code of what its stored inputs say', () => {
  let ops = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const precision = { weightBits: INTEGER_WIDTHS[seed % 7], activationBits: INTEGER_WIDTHS[(seed >> 3) % 7] };
    const { plan, draw } = quantizedNet(seed, precision);
    assert.equal(plan.mode, 'integer');
    const seen: Seen = new Map();
    runPlan(plan, draw(1), 1, (tensor, values) => seen.set(plan.tensors.indexOf(tensor), values));
    for (const op of plan.ops) {
      ops++;
      const want = expected(plan, op, seen);
      const target = plan.tensors[op.output];
      const got = valuesOf(plan, seen, op.output);
      const { storage } = target;
      const largest = Math.max(...want.map(Math.abs), 1e-6);
      want.forEach((v, i) => {
        const place = `seed ${seed}, ${op.op} ${target.name}[${i}]`;
        const bounds = 'clampMin' in op ? [op.clampMin, op.clampMax] : [-1e9, 1e9];
        if (storage.kind === 'codes') {
          const held = Math.min(Math.max(v / storage.scale, bounds[0]), bounds[1]) + storage.zeroPoint;
          assert.ok(Math.abs(got[i] - held) <= 0.5 + 1e-3, `${place}: expected ${held}, got ${got[i]}`);
          assert.ok(got[i] < 2 ** storage.bits, `${place}: ${got[i]} has more than ${storage.bits} bits`);
        } else {
          const held = Math.min(Math.max(v, bounds[0]), bounds[1]);
          assert.ok(Math.abs(got[i] - held) <= 1e-5 * largest, `${place}: expected ${held}, got ${got[i]}`);
        }
      });
    }
  }
  assert.ok(ops > 800, `${ops} ops`);
});

test('a batch answers as its images do one by one, at integer, mixed and float precisions', () => {
  const precisions: Precision[] = [
    { weightBits: 4, activationBits: 4 },
    { weightBits: 3, activationBits: 8 },
    { weightBits: 4, activationBits: 32 },
    { weightBits: 32, activationBits: 4 },
    { weightBits: 16, activationBits: 16 },
  ];
  for (let seed = 500; seed < 530; seed++) {
    const { plan, draw } = quantizedNet(seed, precisions[seed % precisions.length]);
    const batch = 11;
    const input = draw(batch);
    const size = input.length / batch;
    const together = runPlan(plan, input, batch);
    const classes = together.length / batch;
    for (let n = 0; n < batch; n++) {
      const alone = runPlan(plan, input.slice(n * size, (n + 1) * size), 1);
      assert.deepEqual(alone, together.slice(n * classes, (n + 1) * classes), `seed ${seed}, image ${n}`);
    }
  }
});

test('more bits come nearer to the float model', () => {
  const total = new Map<number, number>();
  for (let seed = 600; seed < 630; seed++) {
    const { graph, weights, source, draw } = quantizedNet(seed, { weightBits: 8, activationBits: 8 }, 4);
    const input = draw(4);
    const run = (bits: Width) =>
      runPlan(buildPlan(graph, weights, source, { weightBits: bits, activationBits: bits }), input, 4);
    const float = run(32);
    const norm = Math.hypot(...float);
    for (const bits of [2, 4, 6, 8, 16] as Width[]) {
      const distance = Math.hypot(...run(bits).map((v, i) => v - float[i])) / norm;
      total.set(bits, (total.get(bits) ?? 0) + distance / 30);
    }
  }
  const distances = [...total.values()];
  for (let i = 1; i < distances.length; i++) assert.ok(distances[i] < distances[i - 1], JSON.stringify([...total]));
  assert.ok((total.get(8) as number) < 0.1, `8 bits are ${total.get(8)} away`);
});

test('the bytes of a plan are its packed codes, multipliers and biases, known before it is built', () => {
  for (let seed = 700; seed < 720; seed++) {
    for (const bits of [2, 3, 5, 8, 16, 32] as Width[]) {
      const precision = { weightBits: bits, activationBits: bits };
      const { graph, source, plan } = quantizedNet(seed, precision);
      assert.equal(planBytes(graph, source, precision), plan.arena.byteLength);
      let bound = 0;
      for (const op of plan.ops) {
        if (!('weights' in op)) continue;
        const { rows, columns } = op.weights;
        bound += Math.ceil((rows * columns * bits) / 8) + 8 * rows + 3;
      }
      assert.ok(plan.arena.byteLength <= bound, `${bits} bits: ${plan.arena.byteLength} > ${bound}`);
    }
  }
});

test('a tiny channel with a real bias keeps its bias', () => {
  const { graph, weights, source, draw } = quantizedNet(801, { weightBits: 4, activationBits: 8 }, 1);
  const dense = graph.nodes.findLast((n) => n.op === 'dense')!;
  const kernel = weights.get(dense.op === 'dense' ? dense.kernel : '')!;
  const bias = weights.get(dense.op === 'dense' ? (dense.bias as string) : '')!;
  for (let i = 0; i < kernel.data.length; i += bias.data.length) kernel.data[i] = 1e-12;
  bias.data[0] = 3;
  const plan = buildPlan(graph, weights, source, { weightBits: 4, activationBits: 8 });
  const logits = runPlan(plan, draw(1), 1);
  assert.ok(Math.abs(logits[0] - 3) < 1e-3, `expected about 3, got ${logits[0]}`);
});

test('a missing range is an error that names the tensor', () => {
  const { graph, weights, source } = quantizedNet(900, { weightBits: 4, activationBits: 4 });
  const build = () => buildPlan(graph, weights, { ...source, ranges: {} }, { weightBits: 4, activationBits: 4 });
  assert.throws(build, /expected a clip range of tensor \S+ at 4 bits/);
});
