/**
 * What the Python client of Triton (tritonclient.http over geventhttpclient) puts on the wire, byte for byte as its source
 * has it: compact JSON with its keys in this order, no Content-Type, no Content-Length where there is no body, and the
 * length of the JSON only where binary data is behind it. How it reads an answer, too.
 */
import { connect } from 'node:net';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';

export interface Input {
  name: string;
  shape: number[];
  datatype: string;
  /** Binary, or what `binary_data=False` puts into the JSON. */
  data: Buffer | unknown[];
}

export interface Options {
  id?: string;
  outputs?: { name: string; binary?: boolean; classes?: number }[];
  timeout?: number;
  parameters?: Record<string, unknown>;
  compress?: 'gzip' | 'deflate';
  accept?: 'gzip' | 'deflate';
  version?: string;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** `_get_inference_request` of tritonclient/http/_utils.py. */
export function inferenceRequest(inputs: Input[], { id, outputs, timeout, parameters: custom }: Options) {
  const parameters: Record<string, unknown> = {};
  if (timeout !== undefined) parameters.timeout = timeout;
  const request: Record<string, unknown> = id === undefined ? {} : { id };
  request.inputs = inputs.map(({ name, shape, datatype, data }) =>
    Buffer.isBuffer(data)
      ? { name, shape, datatype, parameters: { binary_data_size: data.length } }
      : { name, shape, datatype, data },
  );
  if (outputs) {
    request.outputs = outputs.map(({ name, binary = true, classes = 0 }) => {
      return { name, parameters: { ...(classes === 0 ? {} : { classification: classes }), binary_data: binary } };
    });
  } else parameters.binary_data_output = true;
  Object.assign(parameters, custom);
  if (Object.keys(parameters).length > 0) request.parameters = parameters;
  const json = Buffer.from(JSON.stringify(request));
  const blobs = inputs.flatMap(({ data }) => (Buffer.isBuffer(data) ? [data] : []));
  return { body: Buffer.concat([json, ...blobs]), jsonSize: blobs.length > 0 ? json.length : null };
}

/** `serialize_byte_tensor` of tritonclient/utils. */
export function byteTensor(...elements: Uint8Array[]): Buffer {
  return Buffer.concat(
    elements.flatMap((element) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(element.length);
      return [length, element];
    }),
  );
}

export class TritonClient {
  constructor(readonly port: number) {}

  infer(model: string, inputs: Input[], options: Options = {}): Promise<Answer> {
    let { body, jsonSize } = inferenceRequest(inputs, options);
    const headers: Record<string, string> = {};
    if (options.compress) headers['Content-Encoding'] = options.compress;
    if (options.compress === 'gzip') body = gzipSync(body);
    if (options.compress === 'deflate') body = deflateSync(body);
    if (options.accept) headers['Accept-Encoding'] = options.accept;
    if (jsonSize !== null) headers['Inference-Header-Content-Length'] = String(jsonSize);
    const version = options.version ? `/versions/${options.version}` : '';
    return this.send('POST', `v2/models/${model}${version}/infer`, headers, body);
  }

  /** `_build_request` of geventhttpclient. */
  send(method: 'GET' | 'POST', path: string, headers: Record<string, string> = {}, body = Buffer.alloc(0)) {
    const fields: Record<string, string> = { 'User-Agent': 'python/gevent-http-client-2.3.3', ...headers };
    fields.Host = `127.0.0.1:${this.port}`;
    if (body.length > 0) fields['Content-Length'] = String(body.length);
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    return exchange(
      this.port,
      Buffer.concat([Buffer.from(`${method} /${path} HTTP/1.1\r\n${lines.join('')}\r\n`), body]),
    );
  }
}

/** `InferResult`: the JSON, and each output as its numbers or strings. */
export function readResult({ headers, body }: Answer) {
  let content = body;
  if (headers['content-encoding'] === 'gzip') content = gunzipSync(body);
  if (headers['content-encoding'] === 'deflate') content = inflateSync(body);
  const length = headers['inference-header-content-length'];
  const result = JSON.parse(content.subarray(0, length === undefined ? content.length : Number(length)).toString());
  let at = Number(length ?? content.length);
  const tensors: Record<string, (number | string)[]> = {};
  for (const { name, datatype, parameters, data } of result.outputs) {
    const size: number | undefined = parameters?.binary_data_size;
    if (size === undefined) {
      tensors[name] = data;
      continue;
    }
    const bytes = content.subarray(at, at + size);
    at += size;
    tensors[name] = datatype === 'BYTES' ? strings(bytes) : [...new Float32Array(new Uint8Array(bytes).buffer)];
  }
  if (at !== content.length) throw new Error(`${content.length - at} bytes too many`);
  return { result, tensors };
}

function strings(bytes: Buffer): string[] {
  const list: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    list.push(bytes.subarray(at + 4, at + 4 + length).toString());
    at += 4 + length;
  }
  return list;
}

function exchange(port: number, request: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before the answer')));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [first, ...lines] = bytes.subarray(0, end).toString().split('\r\n');
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      );
      const body = bytes.subarray(end + 4);
      if (body.length < Number(headers['content-length'])) return;
      resolve({ status: Number(first.split(' ')[1]), headers, body });
      socket.destroy();
    });
  });
}
