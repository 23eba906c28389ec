/** A graph of src/model/graph.ts in the order and layout of ONNX (NCHW): kernels, windows, the model around the nodes. */
import { fuseGraph } from '../dist/src/quantize/fuse.js';
import { geometryOf } from '../dist/src/quantize/geometry.js';
import { encodeModel, TYPE } from './onnx.mjs';

export class OnnxGraph {
  constructor(net) {
    this.net = net;
    this.nodes = net.graph.nodes;
    this.byName = new Map(this.nodes.map((n) => [n.name, n]));
    const fused = fuseGraph(net.graph);
    this.windows = new Map();
    for (const op of fused.ops) this.windows.set(op.node.name, geometryOf(op, fused).window);
  }

  /** The ReLU that alone takes a node's result. */
  reluAfter(name) {
    const takers = this.nodes.filter((n) => n.inputs.includes(name));
    return takers.length === 1 && takers[0].op === 'relu' ? takers[0] : null;
  }

  /** ONNX order: [n, c, h, w] for images. */
  dims(node, batch) {
    const [h, w, c] = node.shape;
    return node.shape.length === 3 ? [batch, c, h, w] : [batch, ...node.shape];
  }

  windowAttributes(node) {
    const w = this.windows.get(node.name);
    const [h, width] = this.byName.get(node.inputs[0]).shape;
    const [outHeight, outWidth] = node.shape;
    const behind = (out, stride, kernel, size, before) => Math.max((out - 1) * stride + kernel - size - before, 0);
    const bottom = behind(outHeight, w.strideHeight, w.kernelHeight, h, w.padTop);
    const right = behind(outWidth, w.strideWidth, w.kernelWidth, width, w.padLeft);
    return {
      kernel_shape: [w.kernelHeight, w.kernelWidth],
      strides: [w.strideHeight, w.strideWidth],
      pads: [w.padTop, w.padLeft, bottom, right],
    };
  }

  /** Kernel with the output channel first: [o, i, kh, kw] or [out, in]; the inputs of a dense layer in NCHW order. */
  kernel(node) {
    const { shape, data } = this.net.weights.get(node.kernel);
    if (node.op === 'dense') return this.#denseKernel(node, shape, data);
    const [kh, kw, a, b] = shape;
    const depthwise = node.op === 'depthwise_conv2d';
    const rows = depthwise ? a * b : b;
    const inner = depthwise ? 1 : a;
    const out = new Float32Array(data.length);
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < inner; i++) {
        for (let k = 0; k < kh * kw; k++) {
          out[(r * inner + i) * kh * kw + k] = depthwise ? data[k * rows + r] : data[(k * a + i) * b + r];
        }
      }
    }
    return { dims: [rows, inner, kh, kw], data: out, rows, group: depthwise ? a : 1 };
  }

  #denseKernel(node, [inputs, rows], data) {
    const from = this.byName.get(node.inputs[0]);
    const image = from.op === 'reshape' ? this.byName.get(from.inputs[0]).shape : [1, 1, inputs];
    const [h, w, c] = image.length === 3 ? image : [1, 1, inputs];
    const out = new Float32Array(data.length);
    for (let i = 0; i < inputs; i++) {
      // Place i of the flattened NCHW image holds (channel, position).
      const [channel, position] = [Math.floor(i / (h * w)), i % (h * w)];
      const at = (position * c + channel) * rows;
      for (let r = 0; r < rows; r++) out[r * inputs + i] = data[at + r];
    }
    return { dims: [rows, inputs], data: out, rows, group: 1 };
  }

  bias(node) {
    return this.net.weights.get(node.bias).data;
  }

  model(batch, nodes, initializers, outputs = [this.net.graph.output]) {
    const input = this.byName.get(this.net.graph.input);
    return encodeModel({
      nodes,
      initializers,
      inputs: [{ name: input.name, type: TYPE.float, dims: this.dims(input, batch) }],
      outputs: outputs.map((name) => ({ name, type: TYPE.float, dims: this.dims(this.byName.get(name), batch) })),
    });
  }
}
