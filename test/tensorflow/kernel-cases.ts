/** The wasm backend's kernels against the cpu backend's on random shapes; `kernels.test.ts` and `native-kernels.test.ts` run them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import * as fused from '../../src/tensorflow/fused.js';
import { Random } from '../../src/training/random.js';

const random = new Random(20);
const pick = <T>(items: readonly T[]): T => items[random.below(items.length)];
const numbers = (shape: number[], next = () => random.normal()): { shape: number[]; values: Float32Array } => ({
  shape,
  values: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next),
});
type Numbers = ReturnType<typeof numbers>;

/** Runs `compute` on both backends and compares every number of what it gives. */
async function agree(
  what: string,
  inputs: Numbers[],
  compute: (...tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
  tolerance = 2e-5,
): Promise<void> {
  const results: Float32Array[][] = [];
  for (const backend of ['cpu', 'wasm']) {
    await tf.setBackend(backend);
    const before = tf.memory().numTensors;
    const tensors = inputs.map(({ shape, values }) => tf.tensor(values, shape));
    const given = [tf.tidy(() => compute(...tensors))].flat();
    results.push(given.map((t) => t.dataSync() as Float32Array));
    tf.dispose([...given, ...tensors]);
    assert.equal(tf.memory().numTensors, before, `${what}: tensors left on ${backend}`);
  }
  const [expected, actual] = results;
  for (const [k, wanted] of expected.entries()) {
    const scale = Math.max(1, ...wanted.map(Math.abs));
    for (let i = 0; i < wanted.length; i++) {
      assert.ok(
        Math.abs(wanted[i] - actual[k][i]) <= tolerance * scale,
        `${what}, result ${k}, element ${i}: cpu ${wanted[i]}, wasm ${actual[k][i]}`,
      );
    }
  }
}

type Quad = [number, number, number, number];

/** One kernel by its name, with the same attributes on both backends. */
function kernel(name: string, attrs: Record<string, unknown>, inputs: string[]) {
  return (...tensors: tf.Tensor[]): tf.Tensor => {
    const named = Object.fromEntries(inputs.map((input, i) => [input, tensors[i]]));
    return tf.engine().runKernel(name, named, attrs as never) as tf.Tensor;
  };
}

/** To be called once the backend is up. */
export function kernelCases(): void {
  test('convolution gradients', async () => {
    for (let trial = 0; trial < 80; trial++) {
      const pad = pick(['same', 'valid'] as const);
      const strides: [number, number] = [pick([1, 1, 2, 3]), pick([1, 1, 2, 3])];
      const [kh, kw, cin, cout] = [1 + random.below(5), 1 + random.below(5), 1 + random.below(4), 1 + random.below(5)];
      const inputShape: Quad = [1 + random.below(3), kh + random.below(8), kw + random.below(8), cin];
      const filterShape: Quad = [kh, kw, cin, cout];
      const dy = numbers(tf.backend_util.computeConv2DInfo(inputShape, filterShape, strides, 1, pad).outShape);
      const attrs = { strides, pad, dataFormat: 'NHWC', inputShape, filterShape };
      const what = `conv ${inputShape} kernel ${filterShape} strides ${strides} ${pad}`;
      const toInput = kernel(tf.Conv2DBackpropInput, attrs, ['dy', 'filter']);
      const toFilter = kernel(tf.Conv2DBackpropFilter, attrs, ['x', 'dy']);
      await agree(`${what}, input`, [dy, numbers(filterShape)], toInput);
      await agree(`${what}, filter`, [numbers(inputShape), dy], toFilter);
    }
  });

  test('depthwise convolution gradients', async () => {
    for (let trial = 0; trial < 80; trial++) {
      const pad = pick(['same', 'valid'] as const);
      const stride = pick([1, 2, 3]);
      const filterShape: Quad = [1 + random.below(3), 1 + random.below(3), 1 + random.below(4), 1 + random.below(3)];
      const inputShape: Quad = [1 + random.below(2), 6 + random.below(5), 6 + random.below(5), filterShape[2]];
      const info = tf.backend_util.computeConv2DInfo(inputShape, filterShape, stride, 1, pad, undefined, true);
      const dy = numbers(info.outShape);
      const attrs = { strides: [stride, stride], pad, dilations: [1, 1], inputShape, filterShape };
      const what = `depthwise ${inputShape} kernel ${filterShape} stride ${stride} ${pad}`;
      const toInput = kernel(tf.DepthwiseConv2dNativeBackpropInput, attrs, ['dy', 'filter']);
      const toFilter = kernel(tf.DepthwiseConv2dNativeBackpropFilter, attrs, ['x', 'dy']);
      await agree(`${what}, input`, [dy, numbers(filterShape)], toInput);
      await agree(`${what}, filter`, [numbers(inputShape), dy], toFilter);
    }
  });

  test('max pool gradients, with ties and windows without a positive value', async () => {
    const values = [
      () => random.normal(),
      () => random.below(3) - 1,
      () => -1 - random.below(2),
      () => -random.uniform(),
      () => 0,
    ];
    for (let trial = 0; trial < 100; trial++) {
      const pad = pick(['same', 'valid'] as const);
      const filterSize: [number, number] = [1 + random.below(3), 1 + random.below(3)];
      const strides: [number, number] = [1 + random.below(3), 1 + random.below(3)];
      const shape: Quad = [1 + random.below(2), 3 + random.below(6), 3 + random.below(6), 1 + random.below(3)];
      const dy = numbers(tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad).outShape);
      const gradient = kernel(tf.MaxPoolGrad, { filterSize, strides, pad }, ['dy', 'input', 'output']);
      const what = `max pool ${shape} window ${filterSize} strides ${strides} ${pad}`;
      await agree(what, [dy, numbers(shape, pick(values))], (dy, x) =>
        gradient(dy, x, tf.maxPool(x as tf.Tensor4D, filterSize, strides, pad)),
      );
    }
  });

  test('products with transposed operands', async () => {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]) {
      for (const lead of [[], [3]]) {
        const [n, k, m] = [1 + random.below(20), 1 + random.below(20), 1 + random.below(20)];
        const a = numbers([...lead, ...(transposeA ? [k, n] : [n, k])]);
        const b = numbers([...lead, ...(transposeB ? [m, k] : [k, m])]);
        await agree(`matMul ${transposeA} ${transposeB}`, [a, b], (a, b) => tf.matMul(a, b, transposeA, transposeB));
      }
    }
  });

  test('average pool gradients of whole windows', async () => {
    for (let trial = 0; trial < 30; trial++) {
      const filterSize: [number, number] = [1 + random.below(3), 1 + random.below(3)];
      const strides: [number, number] = [1 + random.below(3), 1 + random.below(3)];
      const shape: Quad = [1 + random.below(2), 3 + random.below(6), 3 + random.below(6), 1 + random.below(3)];
      const dy = numbers(tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, 'valid').outShape);
      const gradient = kernel(tf.AvgPoolGrad, { filterSize, strides, pad: 'valid' }, ['dy', 'input']);
      await agree(`average pool ${shape} window ${filterSize} strides ${strides}`, [dy, numbers(shape)], gradient);
    }
  });

  test('the other ops that layers and losses are made of', async () => {
    const x = numbers([2, 6, 5, 3], () => random.normal() * 5);
    const ops: Record<string, (x: tf.Tensor4D) => tf.Tensor | tf.Tensor[]> = {
      relu6: (x) => tf.minimum(tf.relu(x), 6),
      masks: (x) => tf.mul(tf.step(x), tf.step(tf.sub(6, x))),
      sign: (x) => tf.sign(tf.relu(x)),
      concat: (x) => tf.concat([x, tf.mul(x, 2)], 3),
      split: (x) => tf.split(x, [1, 2], 3),
      pad: (x) =>
        tf.pad(x, [
          [0, 0],
          [1, 2],
          [0, 3],
          [0, 0],
        ]),
      slice: (x) => tf.slice(x, [0, 1, 2, 0], [2, 3, 3, 3]),
      taps: (x) => tf.stridedSlice(x, [0, 0, 0, 0], [2, 6, 5, 3], [1, 2, 3, 1]),
      'global mean': (x) => tf.mean(x, [1, 2]),
      'l1 norm': (x) => tf.sum(tf.abs(x)),
      'mean square': (x) => tf.mean(tf.square(x)),
      'inverse root': (x) => tf.rsqrt(tf.add(tf.square(x), 1e-3)),
      exponentials: (x) => tf.log(tf.sum(tf.exp(tf.sub(x, tf.max(x, 3, true))), 3, true)),
    };
    for (const [name, op] of Object.entries(ops)) await agree(name, [x], (x) => op(x as tf.Tensor4D));
  });

  test('convolutions and max pools, forwards', async () => {
    for (let trial = 0; trial < 30; trial++) {
      const pad = pick(['same', 'valid'] as const);
      const stride = pick([1, 2]);
      // The plain wasm backend has no stride beside a dilation.
      const dilation = stride === 1 ? pick([1, 1, 2]) : 1;
      const filter: Quad = [1 + random.below(3), 1 + random.below(3), 1 + random.below(20), 1 + random.below(20)];
      const input = numbers([1 + random.below(3), 7 + random.below(5), 7 + random.below(5), filter[2]]);
      const what = `${input.shape} kernel ${filter} stride ${stride} dilation ${dilation} ${pad}`;
      await agree(`conv ${what}`, [input, numbers(filter)], (x, w) =>
        tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad, 'NHWC', dilation),
      );
      const narrow: Quad = [filter[0], filter[1], filter[2], pick([1, 1, 2])];
      await agree(`depthwise ${what} times ${narrow[3]}`, [input, numbers(narrow)], (x, w) =>
        tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, pad, 'NHWC', dilation),
      );
      await agree(`max pool ${what}`, [input], (x) =>
        tf.maxPool(x as tf.Tensor4D, [filter[0], filter[1]], stride, pad),
      );
    }
  });

  test('sums of tensors of one shape, of pixels and channels, and of others', async () => {
    for (const [a, b] of [
      [
        [2, 3, 4],
        [2, 3, 4],
      ],
      [[2, 3, 5], [5]],
      [[5], [2, 3, 5]],
      [
        [2, 3, 4],
        [3, 1],
      ],
      [[2, 3, 4], []],
      [[7], [7]],
    ]) {
      await agree(`${a} and ${b}`, [numbers(a), numbers(b)], (x, y) => tf.add(x, y));
    }
    await agree('whole numbers', [numbers([4], () => random.below(9))], (x) => tf.add(tf.cast(x, 'int32'), 3));
  });

  test('operations in one piece, against what they are composed of', async () => {
    for (const shape of [
      [3, 4, 5, 6],
      [30, 17],
      [2, 7, 3, 32],
    ]) {
      const channels = shape[shape.length - 1];
      const [x, dy, gamma, beta] = [numbers(shape), numbers(shape), numbers([channels]), numbers([channels])];
      await agree(`batch norm ${shape}`, [x, dy, gamma, beta], (x, dy, gamma, beta) => {
        const { y, mean, variance, backward } = fused.batchNormTraining(x, gamma, beta, 1e-3);
        const gradients = backward(dy);
        return [y, mean, variance, gradients.x, gradients.gamma, gradients.beta];
      });
      const square = numbers([channels], () => random.uniform());
      for (const offset of [true, false]) {
        await agree(`batch norm by averages ${shape}`, [x, gamma, beta, square], (x, gamma, beta, square) =>
          tf.batchNorm(
            x as tf.Tensor4D,
            beta as tf.Tensor1D,
            square as tf.Tensor1D,
            offset ? (gamma as tf.Tensor1D) : undefined,
            gamma as tf.Tensor1D,
          ),
        );
      }
      for (const top of [null, 6, 1]) {
        await agree(`ReLU ${shape} up to ${top}`, [x, dy], (x, dy) => {
          const y = fused.relu(x, top);
          return [y, fused.reluGrad(dy, y, top)];
        });
      }
      await agree(`sums ${shape}`, [x], (x) => [fused.channelSums(x), fused.absoluteSum(x), fused.squareSum(x)]);
      await agree(`signs ${shape}`, [x, dy], (x, dy) => fused.addSign(x, dy, 0.25));
      const codes = { bits: 4, scale: 0.25, zeroPoint: 3 } as const;
      await agree(`rounding ${shape}`, [x, dy], (x, dy) => [
        fused.fakeQuantize(x, codes),
        fused.fakeQuantizeGrad(dy, x, codes),
      ]);
    }
  });
}
