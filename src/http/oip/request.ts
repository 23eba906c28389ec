/** From the bytes of an inference request to what serving takes. Pure functions. */
import { ServiceError } from '../../errors.js';
import type { InferRequest, PredictBody, TensorBody } from '../../serving/request.js';
import { readChoice, saidOnce } from '../choice.js';
import { readJson } from '../plugins/json.js';
import { checked, validatorCompiler } from '../plugins/validation.js';
import { type Datatype, InferBody, type InferQuery, OUTPUTS, type OutputName } from '../schemas/oip-infer.js';

export interface RequestedOutput {
  name: OutputName;
  binary: boolean;
  /** So many of the highest as text; 0: the tensor itself. */
  classes: number;
}

/** One inference request, whichever way it was written. */
export interface InferCall {
  id?: string;
  request: Pick<InferRequest, 'choice' | 'body' | 'deadlineMs'>;
  outputs: RequestedOutput[];
}

type Dial = Omit<InferQuery, 'datatype'>;

const DTYPES: Record<Datatype, TensorBody['dtype']> = { FP32: 'float32', UINT8: 'uint8', BYTES: 'files' };
const checkBody = validatorCompiler({ schema: InferBody, method: 'POST', url: '', httpPart: 'body' });

/**
 * @param headerLength the value of Inference-Header-Content-Length: bytes of the JSON; 0: all of the body is the input,
 *   undefined: all of it is JSON
 * @param mediaType of the body, which says whether a raw one is an image file
 * @throws ServiceError of a body that cannot be read; what depends on the model is left to serving
 */
export function readInferCall(
  body: Buffer,
  headerLength: string | undefined,
  query: InferQuery,
  mediaType: string | undefined,
): InferCall {
  if (body.length === 0) {
    const expected = 'an inference request';
    throw new ServiceError('empty_body', `body: expected ${expected}, got nothing`, { expected, actual: 'nothing' });
  }
  const length = readLength(headerLength, body.length);
  if (length === 0) return readRaw(body, query, mediaType);
  return readMessage(body.subarray(0, length), body.subarray(length), query);
}

function readLength(text: string | undefined, bodyLength: number): number {
  if (text === undefined) return bodyLength;
  const length = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (length <= bodyLength) return length;
  const field = 'Inference-Header-Content-Length';
  const expected = `a whole number from 0 to ${bodyLength}, the length of the body`;
  const actual = JSON.stringify(text.slice(0, 40));
  throw new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
}

function readRaw(bytes: Buffer, { datatype, ...dial }: InferQuery, mediaType: string | undefined): InferCall {
  const image = mediaType?.startsWith('image/') ?? false;
  const asked = datatype ?? (image ? 'BYTES' : 'FP32');
  const body: PredictBody =
    asked === 'BYTES'
      ? { kind: 'image', bytes }
      : { kind: 'raw', dtype: asked === 'UINT8' ? 'uint8' : 'float32', bytes };
  return { request: { ...readDial(dial), body }, outputs: allOutputs(true) };
}

function readMessage(json: Buffer, binary: Buffer, { datatype, ...queryDial }: InferQuery): InferCall {
  if (datatype !== undefined) {
    const [field, expected, actual] = ['datatype', 'it in the input tensor unless the body is raw', 'it in the query'];
    throw new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
      field,
      expected,
      actual,
    });
  }
  const { id, parameters = {}, inputs, outputs } = checked<InferBody>(checkBody, readJson(json));
  const dial: Dial = saidOnce(queryDial, parameters, 'parameters');
  const body: TensorBody = {
    kind: 'tensor',
    shape: inputs[0].shape,
    dtype: DTYPES[inputs[0].datatype],
    data: readData(inputs[0], binary),
  };
  return {
    id,
    request: { ...readDial(dial), body },
    outputs: readOutputs(outputs, parameters.binary_data_output ?? false),
  };
}

function readData({ data, parameters }: InferBody['inputs'][number], binary: Buffer): TensorBody['data'] {
  const size = parameters?.binary_data_size;
  if ((data === undefined) === (size === undefined)) {
    const [field, expected] = ['inputs.0', 'either data or parameters.binary_data_size'];
    const actual = data === undefined ? 'neither' : 'both';
    const code = data === undefined ? 'missing_field' : 'invalid_field';
    throw new ServiceError(code, `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
  }
  const expected = size ?? 0;
  if (binary.length !== expected) {
    const field = size === undefined ? 'body' : 'inputs.0.parameters.binary_data_size';
    const wanted = size === undefined ? 'nothing behind the JSON' : `${expected} bytes behind the JSON`;
    const actual = `${binary.length} bytes`;
    const extra = { field, expected: wanted, actual };
    throw new ServiceError('wrong_shape', `${field}: expected ${wanted}, got ${actual}`, extra);
  }
  return size === undefined ? { values: data } : { bytes: binary };
}

function readOutputs(outputs: InferBody['outputs'], binaryDefault: boolean): RequestedOutput[] {
  if (outputs === undefined || outputs.length === 0) return allOutputs(binaryDefault);
  const seen = new Set<string>();
  return outputs.map(({ name, parameters }, i) => {
    const classes = parameters?.classification ?? 0;
    const refuse = (field: string, expected: string, actual: string) =>
      new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, { field, expected, actual });
    if (seen.has(name)) throw refuse(`outputs.${i}.name`, 'each output once', `${name} again`);
    seen.add(name);
    if (classes > 0 && name === 'label') {
      throw refuse(`outputs.${i}.parameters.classification`, 'it on probabilities or logits', 'it on label');
    }
    return { name, binary: parameters?.binary_data ?? binaryDefault, classes };
  });
}

function allOutputs(binary: boolean): RequestedOutput[] {
  return OUTPUTS.map((name) => ({ name, binary, classes: 0 }));
}

function readDial(dial: Dial): Pick<InferRequest, 'choice' | 'deadlineMs'> {
  const choice = readChoice(dial, 'request');
  const { timeout } = dial;
  return timeout ? { choice, deadlineMs: timeout / 1000 } : { choice };
}
