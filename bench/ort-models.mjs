/**
 * The peers' models: a graph of src/model/graph.ts as ONNX, NCHW, in float32 and in 8 bits (QLinearConv and its kin:
 * uint8 activations, int8 weights per channel, the form ONNX Runtime's own quantiser gives for x86 with VNNI).
 */
import { codesParameters } from '../dist/src/quantize/ranges.js';
import { tensor } from './onnx.mjs';
import { OnnxGraph } from './onnx-graph.mjs';

const MICROSOFT = 'com.microsoft';

/**
 * The graph in float32.
 * @param {boolean} everything give every tensor as an output, for calibration
 */
export function floatModel(net, batch, everything = false) {
  const source = new OnnxGraph(net);
  const nodes = [];
  const initializers = [];
  const constant = (name, dims, array) => {
    initializers.push(tensor(name, dims, array));
    return name;
  };
  for (const node of source.nodes) {
    const { name, inputs, op } = node;
    const emit = (onnx, ins, attributes) => nodes.push({ op: onnx, inputs: ins, outputs: [name], attributes });
    if (op === 'conv2d' || op === 'depthwise_conv2d' || op === 'dense') {
      const { dims, data, rows, group } = source.kernel(node);
      const ins = [inputs[0], constant(`${name}.w`, dims, data), constant(`${name}.b`, [rows], source.bias(node))];
      if (op === 'dense') emit('Gemm', ins, { transB: 1 });
      else emit('Conv', ins, { group, ...source.windowAttributes(node) });
    } else if (op === 'relu' && node.maxValue === null) emit('Relu', inputs);
    else if (op === 'relu') {
      const bounds = [0, node.maxValue].map((x, i) => constant(`${name}.${i}`, [], Float32Array.of(x)));
      emit('Clip', [inputs[0], ...bounds]);
    } else if (op === 'add') emit('Add', inputs);
    else if (op === 'max_pool') emit('MaxPool', inputs, source.windowAttributes(node));
    else if (op === 'global_avg_pool') {
      nodes.push({ op: 'GlobalAveragePool', inputs, outputs: [`${name}.image`] });
      nodes.push({ op: 'Flatten', inputs: [`${name}.image`], outputs: [name], attributes: { axis: 1 } });
    } else if (op === 'reshape') emit('Flatten', inputs, { axis: 1 });
    else if (op !== 'input') throw new Error(`onnx: no op for ${op}`);
  }
  const names = source.nodes.filter((n) => n.op !== 'input').map((n) => n.name);
  return source.model(batch, nodes, initializers, everything ? names : undefined);
}

/**
 * The graph in 8 bits; float32 in and out, as ours has them.
 * @param {Map<string, [number, number]>} extremes of every tensor, by node name
 */
export function int8Model(net, batch, extremes, denseOp = 'QGemm') {
  const source = new OnnxGraph(net);
  const nodes = [];
  const initializers = [];
  const constant = (name, dims, array) => {
    if (!initializers.some((t) => t.name === name)) initializers.push(tensor(name, dims, array));
    return name;
  };
  /** Scale and zero point of a stored tensor, by node name. */
  const parameters = new Map();
  /** Where a node's codes are: under its own name, or that of the ReLU it took in, or as its input's. */
  const codes = (name) => `${name}.q`;
  const scaleAndZero = (name) => {
    const { scale, zeroPoint } = parameters.get(name);
    const zero = constant(`${name}.z`, [], Uint8Array.of(zeroPoint));
    return [constant(`${name}.s`, [], Float32Array.of(scale)), zero];
  };
  const store = (name) => {
    const [low, high] = extremes.get(name);
    parameters.set(name, codesParameters(low, high, 8));
    return scaleAndZero(name);
  };
  const operand = (name) => [codes(name), ...scaleAndZero(name)];

  for (const node of source.nodes) {
    const { name, inputs, op } = node;
    // A range that begins at 0 (and ends at 6) is the ReLU: codes saturate.
    const target = source.reluAfter(name)?.name ?? name;
    const emit = (onnx, ins, attributes, domain) =>
      nodes.push({ op: onnx, inputs: ins, outputs: [codes(target)], attributes, domain });
    if (op === 'input') {
      const to = store(name);
      nodes.push({ op: 'QuantizeLinear', inputs: [name, ...to], outputs: [codes(name)] });
    } else if (op === 'conv2d' || op === 'depthwise_conv2d' || op === 'dense') {
      const { dims, data, rows, group } = source.kernel(node);
      const quantized = perChannel(data, rows);
      const { scale: inputScale } = parameters.get(inputs[0]);
      const bias = Int32Array.from(source.bias(node), (b, r) => Math.round(b / (inputScale * quantized.scales[r])));
      const matmul = op === 'dense' && denseOp !== 'QGemm';
      const w = [
        constant(
          `${name}.w`,
          matmul ? dims.toReversed() : dims,
          matmul ? transpose(quantized.codes, dims) : quantized.codes,
        ),
        constant(`${name}.ws`, [rows], quantized.scales),
        constant(`${name}.wz`, [rows], new Int8Array(rows)),
      ];
      const b = matmul ? '' : constant(`${name}.b`, [rows], bias);
      if (op !== 'dense') {
        emit('QLinearConv', [...operand(inputs[0]), ...w, ...store(target), b], {
          group,
          ...source.windowAttributes(node),
        });
      } else if (matmul) {
        const ins = [...operand(inputs[0]), ...w, ...store(target)];
        nodes.push({ op: 'QLinearMatMul', inputs: ins, outputs: [codes(name)] });
        const raw = `${name}.raw`;
        nodes.push({ op: 'DequantizeLinear', inputs: operand(name), outputs: [raw] });
        const added = constant(`${name}.b`, [rows], source.bias(node));
        nodes.push({ op: 'Add', inputs: [raw, added], outputs: [name] });
      } else if (name === net.graph.output) {
        const attributes = { transB: 1 };
        const ins = [...operand(inputs[0]), ...w, b];
        nodes.push({ op: 'QGemm', inputs: ins, outputs: [name], attributes, domain: MICROSOFT });
      } else {
        emit('QGemm', [...operand(inputs[0]), ...w, b, ...store(target)], { transB: 1 }, MICROSOFT);
      }
    } else if (op === 'add') {
      const ins = [...operand(inputs[0]), ...operand(inputs[1]), ...store(target)];
      emit('QLinearAdd', ins, {}, MICROSOFT);
    } else if (op === 'max_pool' || op === 'reshape') {
      parameters.set(name, parameters.get(inputs[0]));
      const attributes = op === 'max_pool' ? source.windowAttributes(node) : { axis: 1 };
      emit(op === 'max_pool' ? 'MaxPool' : 'Flatten', [codes(inputs[0])], attributes);
    } else if (op === 'global_avg_pool') {
      const image = `${name}.image`;
      const ins = [...operand(inputs[0]), ...store(name)];
      const attributes = { channels_last: 0 };
      nodes.push({ op: 'QLinearGlobalAveragePool', inputs: ins, outputs: [image], attributes, domain: MICROSOFT });
      nodes.push({ op: 'Flatten', inputs: [image], outputs: [codes(name)], attributes: { axis: 1 } });
    } else if (op !== 'relu' || !parameters.has(name)) throw new Error(`onnx: no 8-bit op for ${op} ${name}`);
  }
  return source.model(batch, nodes, initializers);
}

/** int8 codes, symmetric, one scale for each row: the greatest magnitude is 127. */
function perChannel(data, rows) {
  const columns = data.length / rows;
  const scales = new Float32Array(rows);
  const codes = new Int8Array(data.length);
  for (let r = 0; r < rows; r++) {
    let most = 0;
    for (let i = 0; i < columns; i++) most = Math.max(most, Math.abs(data[r * columns + i]));
    scales[r] = most / 127;
    for (let i = 0; i < columns; i++) codes[r * columns + i] = Math.round(data[r * columns + i] / scales[r]);
  }
  return { scales, codes };
}

function transpose(codes, [rows, columns]) {
  const out = new Int8Array(codes.length);
  for (let r = 0; r < rows; r++) for (let i = 0; i < columns; i++) out[i * rows + r] = codes[r * columns + i];
  return out;
}
