/**
 * Writes ONNX models: the part of onnx.proto that the benchmarks use, as protocol buffers by hand. Field numbers are those
 * of onnx/onnx.proto (IR version 10).
 *
 * @typedef {{name: string, dims: number[], type: number, data: Uint8Array}} Tensor
 * @typedef {{op: string, inputs: string[], outputs: string[], domain?: string, attributes?: Record<string, Attribute>}} Node
 * @typedef {number | number[] | {float: number} | string} Attribute whole numbers are ints, {float} is a float
 * @typedef {{name: string, type: number, dims: number[]}} Value
 */

export const TYPE = { float: 1, uint8: 2, int8: 3, int32: 6, int64: 7 };
const ATTRIBUTE = { float: 1, int: 2, string: 3, ints: 7 };
const OPSETS = [
  { domain: '', version: 21 },
  { domain: 'com.microsoft', version: 1 },
];

const TYPE_OF = new Map([
  [Float32Array, TYPE.float],
  [Uint8Array, TYPE.uint8],
  [Int8Array, TYPE.int8],
  [Int32Array, TYPE.int32],
  [BigInt64Array, TYPE.int64],
]);

/** @returns {Tensor} */
export function tensor(name, dims, array) {
  const type = TYPE_OF.get(array.constructor);
  return { name, dims, type, data: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) };
}

/** A varint; negative numbers as 64-bit two's complement, as protobuf wants them. */
function varint(n) {
  let rest = BigInt.asUintN(64, BigInt(n));
  const bytes = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

const key = (field, wire) => varint((field << 3) | wire);
const int = (field, n) => [key(field, 0), varint(n)];
const bytes = (field, data) => [key(field, 2), varint(data.length), data];
const text = (field, s) => bytes(field, Buffer.from(s));
const float = (field, x) => [key(field, 5), new Uint8Array(Float32Array.of(x).buffer)];

/** A message inside a message: its parts, flat, with their length before them. */
function message(field, parts) {
  const flat = parts.flat(Number.POSITIVE_INFINITY);
  return [key(field, 2), varint(flat.reduce((sum, part) => sum + part.length, 0)), ...flat];
}

function attribute(name, value) {
  const parts = [text(1, name)];
  if (typeof value === 'string') parts.push(text(4, value), int(20, ATTRIBUTE.string));
  else if (Array.isArray(value)) parts.push(...value.map((n) => int(8, n)), int(20, ATTRIBUTE.ints));
  else if (typeof value === 'object') parts.push(float(2, value.float), int(20, ATTRIBUTE.float));
  else parts.push(int(3, value), int(20, ATTRIBUTE.int));
  return message(5, parts);
}

function node({ op, inputs, outputs, domain = '', attributes = {} }) {
  return message(1, [
    inputs.map((name) => text(1, name)),
    outputs.map((name) => text(2, name)),
    text(3, outputs[0]),
    text(4, op),
    Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    domain === '' ? [] : text(7, domain),
  ]);
}

function initializer({ name, dims, type, data }) {
  return message(5, [dims.map((n) => int(1, n)), int(2, type), text(8, name), bytes(9, data)]);
}

function value(field, { name, type, dims }) {
  const shape = message(
    2,
    dims.map((n) => message(1, int(1, n))),
  );
  return message(field, [text(1, name), message(2, message(1, [int(1, type), shape]))]);
}

/**
 * @param {{nodes: Node[], initializers: Tensor[], inputs: Value[], outputs: Value[]}} graph
 * @returns {Uint8Array} the bytes of a model file
 */
export function encodeModel({ nodes, initializers, inputs, outputs }) {
  const graph = message(7, [
    nodes.map(node),
    text(2, 'bench'),
    initializers.map(initializer),
    inputs.map((v) => value(11, v)),
    outputs.map((v) => value(12, v)),
  ]);
  const opsets = OPSETS.map(({ domain, version }) => message(8, [text(1, domain), int(2, version)]));
  return Buffer.concat([int(1, 10), text(2, 'bitdial-bench'), graph, opsets].flat(Number.POSITIVE_INFINITY));
}
