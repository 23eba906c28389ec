/** MatMulNBits, ONNX Runtime's own form of a dense layer of few bits. */
import { tensor } from './onnx.mjs';
import { OnnxGraph } from './onnx-graph.mjs';

/**
 * A net of one dense layer with weights of 2, 4 or 8 bits in blocks, activations in float32 (accuracy level 0) or
 * quantised to int8 on the way (level 4, the fastest).
 */
export function matMulNBitsModel(net, batch, bits, block = 32, accuracy = 4) {
  const source = new OnnxGraph(net);
  const node = source.byName.get(net.graph.output);
  const key = `${bits} ${block}`;
  if (!blockWeights.has(net)) blockWeights.set(net, new Map());
  const known = blockWeights.get(net);
  if (!known.has(key)) known.set(key, packBlocks(source.kernel(node), bits, block));
  const { packed, scales, rows, columns } = known.get(key);
  const initializers = [
    tensor('w', [rows, columns / block, (block * bits) / 8], packed),
    tensor('s', [rows, columns / block], scales),
    tensor('b', [rows], source.bias(node)),
  ];
  const attributes = { K: columns, N: rows, bits, block_size: block, accuracy_level: accuracy };
  const nodes = [
    { op: 'MatMulNBits', inputs: [net.graph.input, 'w', 's'], outputs: ['raw'], attributes, domain: 'com.microsoft' },
    { op: 'Add', inputs: ['raw', 'b'], outputs: [node.name] },
  ];
  return source.model(batch, nodes, initializers);
}

/** Packed weights by net, bits and block: they take seconds, and every batch and number of threads needs them. */
const blockWeights = new WeakMap();

function packBlocks({ dims: [rows, columns], data }, bits, block) {
  const scales = new Float32Array(data.length / block);
  const packed = new Uint8Array((data.length * bits) / 8);
  const zero = 2 ** (bits - 1);
  const perByte = 8 / bits;
  for (let b = 0; b < scales.length; b++) {
    let most = 0;
    for (let i = 0; i < block; i++) most = Math.max(most, Math.abs(data[b * block + i]));
    scales[b] = most / (zero - 1);
    for (let i = 0; i < block; i++) {
      const at = b * block + i;
      const code = Math.min(Math.max(Math.round(data[at] / scales[b]), -zero), zero - 1) + zero;
      packed[Math.floor(at / perByte)] |= code << ((at % perByte) * bits);
    }
  }
  return { packed, scales, rows, columns };
}
