import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { importGraph } from '../../src/model/import.js';
import { decodeWeights } from '../../src/model/weights.js';
import { functional, input, type Json } from './documents.js';

/** xorshift32: the same documents on every run. */
function generator(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

test('whatever is done to a document, only ServiceErrors come out', async () => {
  const base = {
    ...functional(
      input,
      ['c', 'Conv2D', { filters: 4, kernel_size: [3, 3], padding: 'same', strides: 1, activation: 'relu' }, ['in']],
      ['b', 'BatchNormalization', { axis: [3], epsilon: 0.001 }, ['c']],
      ['w', 'DepthwiseConv2D', { kernel_size: 3, padding: 'same', depth_multiplier: 1 }, ['b']],
      ['a', 'Add', {}, ['b', 'w']],
      ['j', 'Concatenate', { axis: -1 }, ['a', 'in']],
      [
        'z',
        'ZeroPadding2D',
        {
          padding: [
            [1, 1],
            [0, 2],
          ],
        },
        ['j'],
      ],
      ['m', 'MaxPooling2D', { pool_size: [2, 2], strides: null }, ['z']],
      ['r', 'Reshape', { target_shape: [-1] }, ['m']],
      ['o', 'Dropout', { rate: 0.5 }, ['r']],
      ['d', 'Dense', { units: 3, activation: 'softmax' }, ['o']],
    ),
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: [
          ['c/kernel', 3, 3, 2, 4],
          ['c/bias', 4],
          ['b/gamma', 4],
          ['b/beta', 4],
          ['b/moving_mean', 4],
          ['b/moving_variance', 4],
          ['w/depthwise_kernel', 3, 3, 4, 1],
          ['w/bias', 4],
          ['d/kernel', 54, 3],
          ['d/bias', 3],
        ].map(([name, ...shape]) => ({
          name,
          shape,
          dtype: 'float32',
          quantization: { dtype: 'uint8', scale: 1, min: 0 },
        })),
      },
    ],
  };
  importGraph(base);
  const text = JSON.stringify(base);
  const random = generator(20240601);
  const VALUES: unknown[] = [
    null,
    undefined,
    true,
    0,
    -1,
    1,
    2,
    1.5,
    1e300,
    -0,
    Number.NaN,
    '',
    'in',
    'c',
    'relu',
    'same',
    '__proto__',
    [],
    [[]],
    [1, 2],
    {},
    { toString: 1 },
    { items: [1, 1] },
    { length: 2 },
    { args: [] },
    { config: 'relu' },
    [null],
    2 ** 53,
    'Flatten',
  ];
  let survived = 0;
  for (let i = 0; i < 6000; i++) {
    let document = JSON.parse(text);
    const places: [Json, string][] = [];
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const key of Object.keys(value)) {
        places.push([value as Json, key]);
        walk((value as Json)[key]);
      }
    };
    walk(document);
    for (let n = 1 + random(3); n > 0; n--) {
      const [owner, key] = places[random(places.length)];
      const [other, from] = places[random(places.length)];
      if (random(4) === 0) delete owner[key];
      else if (random(3) === 0) owner[key] = structuredClone(other[from]);
      else owner[key] = structuredClone(VALUES[random(VALUES.length)]);
    }
    // What no JSON can say (holes, NaN) becomes null.
    document = JSON.parse(JSON.stringify(document));
    try {
      const graph = importGraph(document);
      for (const { shape } of graph.nodes)
        assert.ok(shape.length > 0 && shape.every((n) => Number.isSafeInteger(n) && n > 0));
      survived++;
      await decodeWeights(document, async () => new Uint8Array(600));
    } catch (error) {
      assert.ok(error instanceof ServiceError, `${(error as Error).stack} of ${JSON.stringify(document)}`);
    }
  }
  assert.ok(survived > 300 && survived < 5000, `${survived} documents were still valid`);
});
