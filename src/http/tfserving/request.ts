/** Bodies of TensorFlow Serving's REST API, in row (`instances`) and column (`inputs`) format. */
import { ServiceError } from '../../errors.js';
import { kindOf } from '../../serving/instances.js';
import type { PredictBody } from '../../serving/request.js';

/** The one signature, and the names of its one input and one output. */
export const SIGNATURE = 'serving_default';
export const INPUT = 'input';
export const OUTPUT = 'probabilities';

export interface TensorBody {
  /** Row format: answered by `predictions`; column format: by `outputs`. */
  rows: boolean;
  body: PredictBody;
}

/** @throws ServiceError missing_field, invalid_field, unknown_field */
export function readTensors(body: { instances?: unknown; inputs?: unknown; signature_name?: string }): TensorBody {
  checkSignature(body.signature_name);
  const { instances, inputs } = body;
  if (instances !== undefined && inputs !== undefined) {
    throw fault('invalid_field', 'inputs', 'instances or inputs', 'both');
  }
  if (instances !== undefined) {
    return { rows: true, body: { kind: 'instances', instances: readRows(instances, 'instances'), field: 'instances' } };
  }
  if (inputs === undefined) throw fault('missing_field', 'instances', 'instances or inputs', 'neither');
  if (!isObject(inputs)) return { rows: false, body: { kind: 'instances', instances: inputs, field: 'inputs' } };
  const tensor = named(inputs, 'inputs');
  return { rows: false, body: { kind: 'instances', instances: tensor, field: `inputs.${INPUT}` } };
}

/** @throws ServiceError missing_field, invalid_field, unknown_field */
export function readExamples(body: { examples?: unknown; signature_name?: string }): PredictBody {
  checkSignature(body.signature_name);
  const { examples } = body;
  if (Array.isArray(examples)) {
    const at = examples.findIndex((example) => !isObject(example));
    if (at >= 0) throw fault('invalid_field', `examples[${at}]`, `{"${INPUT}": …}`, kindOf(examples[at]));
  }
  return { kind: 'instances', instances: readRows(examples, 'examples'), field: 'examples' };
}

/** Rows as serving takes them: what is an object of named tensors becomes its one tensor. What is no list is told so later. */
function readRows(rows: unknown, field: string): unknown {
  if (!Array.isArray(rows) || !rows.some(isNamed)) return rows;
  return rows.map((row: unknown, i) => (isNamed(row) ? named(row, `${field}[${i}]`) : row));
}

/** The tensor of an object that names the model's one input. */
function named(tensors: Record<string, unknown>, field: string): unknown {
  const unknown = Object.keys(tensors).find((name) => name !== INPUT);
  if (unknown !== undefined) {
    throw fault('unknown_field', field, `only "${INPUT}"`, JSON.stringify(unknown.slice(0, 64)));
  }
  if (!Object.hasOwn(tensors, INPUT)) throw fault('missing_field', field, `"${INPUT}"`, 'nothing');
  return tensors[INPUT];
}

/** Neither a tensor nor the file of an image. */
function isNamed(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Object.hasOwn(value, 'b64');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Nothing and "" are the default, as they are there. */
function checkSignature(name: string | undefined): void {
  if (name === undefined || name === '' || name === SIGNATURE) return;
  throw fault('invalid_field', 'signature_name', `"${SIGNATURE}"`, JSON.stringify(name.slice(0, 64)));
}

function fault(
  code: 'missing_field' | 'invalid_field' | 'unknown_field',
  field: string,
  expected: string,
  actual: string,
): ServiceError {
  return new ServiceError(code, `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}
