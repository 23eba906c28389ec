import type { Graph, GraphNode, PoolNode, Weights } from '../../src/model/graph.js';

type Linear = Extract<GraphNode, { op: 'conv2d' | 'depthwise_conv2d' }>;

/**
 * A graph run node by node in float64, written from the definitions of the layers and sharing no code with the engine.
 * @returns every node's values by name
 */
export function runNaively(graph: Graph, weights: Weights, input: ArrayLike<number>): Map<string, Float64Array> {
  const values = new Map<string, Float64Array>();
  const shapes = new Map(graph.nodes.map((n) => [n.name, n.shape]));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((i) => values.get(i) as Float64Array);
    values.set(
      node.name,
      evaluate(
        node,
        inputs,
        node.inputs.map((i) => shapes.get(i) as number[]),
        weights,
        input,
      ),
    );
  }
  return values;
}

function evaluate(
  node: GraphNode,
  inputs: Float64Array[],
  shapes: number[][],
  weights: Weights,
  image: ArrayLike<number>,
) {
  const [x] = inputs;
  const w = (name: string | null, i: number, absent: number) => (name === null ? absent : weights.get(name)!.data[i]);
  const channels = shapes[0]?.at(-1) as number;
  switch (node.op) {
    case 'input':
      return Float64Array.from(image);
    case 'conv2d':
    case 'depthwise_conv2d':
      return convolve(node, x, shapes[0], weights);
    case 'dense':
      return Float64Array.from({ length: node.shape[0] }, (_, o) =>
        x.reduce((sum, v, i) => sum + v * w(node.kernel, i * node.shape[0] + o, 0), w(node.bias, o, 0)),
      );
    case 'batch_norm':
      return x.map((v, i) => {
        const c = i % channels;
        const normal = (v - w(node.mean, c, 0)) / Math.sqrt(w(node.variance, c, 1) + node.epsilon);
        return normal * w(node.gamma, c, 1) + w(node.beta, c, 0);
      });
    case 'relu':
      return x.map((v) => Math.min(Math.max(v, 0), node.maxValue ?? Number.POSITIVE_INFINITY));
    case 'max_pool':
    case 'avg_pool':
      return pool(node, x, shapes[0]);
    case 'global_avg_pool': {
      const out = new Float64Array(channels);
      x.forEach((v, i) => {
        out[i % channels] += v / (x.length / channels);
      });
      return out;
    }
    case 'add':
      return x.map((_, i) => inputs.reduce((sum, v) => sum + v[i], 0));
    case 'concat': {
      const outer = node.shape.slice(0, node.axis).reduce((a, b) => a * b, 1);
      const out: number[] = [];
      for (let o = 0; o < outer; o++) {
        for (const v of inputs) out.push(...v.subarray((o * v.length) / outer, ((o + 1) * v.length) / outer));
      }
      return Float64Array.from(out);
    }
    case 'zero_pad': {
      const [h, width, c] = shapes[0];
      const out = new Float64Array(node.shape.reduce((a, b) => a * b, 1));
      for (let i = 0; i < h * width * c; i++) {
        const [y, xx, k] = [Math.floor(i / (width * c)), Math.floor(i / c) % width, i % c];
        out[((y + node.top) * node.shape[1] + xx + node.left) * c + k] = x[i];
      }
      return out;
    }
    case 'reshape':
    case 'dropout':
      return x;
    case 'softmax': {
      const top = Math.max(...x);
      const e = x.map((v) => Math.exp(v - top));
      const sum = e.reduce((a, b) => a + b, 0);
      return e.map((v) => v / sum);
    }
  }
}

/** First input row or column of output position 0; TensorFlow puts the odd row of `same` padding behind. */
function before(input: number, output: number, extent: number, stride: number, padding: string): number {
  return padding === 'same' ? Math.floor(Math.max((output - 1) * stride + extent - input, 0) / 2) : 0;
}

function convolve(node: Linear, x: Float64Array, [h, width, c]: number[], weights: Weights): Float64Array {
  const { shape, data } = weights.get(node.kernel)!;
  const [kh, kw, , last] = shape;
  const [oh, ow, oc] = node.shape;
  const top = before(h, oh, (kh - 1) * node.dilation[0] + 1, node.strides[0], node.padding);
  const left = before(width, ow, (kw - 1) * node.dilation[1] + 1, node.strides[1], node.padding);
  const out = new Float64Array(oh * ow * oc);
  for (let oy = 0; oy < oh; oy++)
    for (let ox = 0; ox < ow; ox++)
      for (let o = 0; o < oc; o++) {
        let sum = node.bias === null ? 0 : weights.get(node.bias)!.data[o];
        for (let ky = 0; ky < kh; ky++)
          for (let kx = 0; kx < kw; kx++) {
            const y = oy * node.strides[0] + ky * node.dilation[0] - top;
            const xx = ox * node.strides[1] + kx * node.dilation[1] - left;
            if (y < 0 || y >= h || xx < 0 || xx >= width) continue;
            if (node.op === 'depthwise_conv2d') {
              const i = Math.floor(o / last);
              sum += x[(y * width + xx) * c + i] * data[((ky * kw + kx) * c + i) * last + (o % last)];
            } else {
              for (let i = 0; i < c; i++)
                sum += x[(y * width + xx) * c + i] * data[((ky * kw + kx) * c + i) * last + o];
            }
          }
        out[(oy * ow + ox) * oc + o] = sum;
      }
  return out;
}

function pool(node: PoolNode, x: Float64Array, [h, width, c]: number[]): Float64Array {
  const [oh, ow] = node.shape;
  const top = before(h, oh, node.poolSize[0], node.strides[0], node.padding);
  const left = before(width, ow, node.poolSize[1], node.strides[1], node.padding);
  const out = new Float64Array(oh * ow * c);
  for (let i = 0; i < out.length; i++) {
    const [oy, ox, k] = [Math.floor(i / (ow * c)), Math.floor(i / c) % ow, i % c];
    const seen: number[] = [];
    for (let y = oy * node.strides[0] - top; y < oy * node.strides[0] - top + node.poolSize[0]; y++)
      for (let xx = ox * node.strides[1] - left; xx < ox * node.strides[1] - left + node.poolSize[1]; xx++)
        if (y >= 0 && y < h && xx >= 0 && xx < width) seen.push(x[(y * width + xx) * c + k]);
    out[i] = node.op === 'max_pool' ? Math.max(...seen) : seen.reduce((a, b) => a + b, 0) / seen.length;
  }
  return out;
}
