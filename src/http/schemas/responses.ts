/** Documented responses: a description, a schema and an example each, and the problem documents by code. */
import Type, { type TSchema } from 'typebox';
import { ERRORS, type ErrorCode, ServiceError } from '../../errors.js';
import { PROBLEM_TYPE, problemDocument } from '../plugins/problem.js';

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:bitdial:problem:<code>' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What was expected, and what came' }),
    code: Type.Unsafe<ErrorCode>({ type: 'string', enum: Object.keys(ERRORS), description: 'Stable' }),
    instance: Type.Optional(Type.String({ description: 'The request id, as in x-request-id and in the log' })),
    trace_id: Type.Optional(
      Type.String({
        description: 'The trace that the request belongs to, where it came with a traceparent or is traced',
      }),
    ),
    field: Type.Optional(Type.String({ description: 'The field that is wrong' })),
    expected: Type.Optional(Type.Unknown({ description: 'What was expected' })),
    actual: Type.Optional(Type.Unknown({ description: 'What came' })),
  },
  { $id: 'Problem', description: 'RFC 9457 problem document', additionalProperties: true },
);

interface Documented {
  description: string;
  content?: Record<string, { schema: TSchema; examples?: Record<string, { value: unknown }> }>;
  headers?: Record<string, TSchema>;
}

/** A JSON answer with an example that a test checks against the schema. */
export function json(
  description: string,
  schema: TSchema,
  example: unknown,
  headers?: Record<string, TSchema>,
): Documented {
  return body('application/json', description, schema, example, headers);
}

export function body(
  type: string,
  description: string,
  schema: TSchema,
  example: unknown,
  headers?: Record<string, TSchema>,
): Documented {
  const content = { [type]: { schema, examples: { example: { value: example } } } };
  return headers ? { description, content, headers } : { description, content };
}

/** The problem documents that a route can answer with, by status, one example for each code. */
export function problems(...errors: ServiceError[]): Record<number, Documented> {
  const byStatus: Record<number, Documented> = {};
  for (const error of errors) {
    const documented = byStatus[error.status] ?? { description: '', content: {} };
    const content = documented.content?.[PROBLEM_TYPE] ?? { schema: Type.Unsafe({ $ref: 'Problem#' }), examples: {} };
    content.examples = { ...content.examples, [error.code]: { value: problemDocument(error, 'f3b1c0de-1') } };
    const codes = Object.keys(content.examples);
    byStatus[error.status] = {
      description: codes.map((code) => ERRORS[code as ErrorCode][1]).join('; '),
      content: { [PROBLEM_TYPE]: content },
    };
  }
  return byStatus;
}

const InferenceError = Type.Object({ error: Type.String({ description: 'What was expected, and what came' }) });

/** The same for a route of a known protocol, in whose words an error is its message alone. */
export function inferenceErrors(...errors: ServiceError[]): Record<number, Documented> {
  const byStatus: Record<number, ServiceError[]> = {};
  for (const error of errors) byStatus[error.status] = [...(byStatus[error.status] ?? []), error];
  const entries = Object.entries(byStatus).map(([status, group]) => {
    const description = [...new Set(group.map(({ title }) => title))].join('; ');
    const examples = Object.fromEntries(group.map(({ code, message }) => [code, { value: { error: message } }]));
    return [status, { description, content: { 'application/json': { schema: InferenceError, examples } } }];
  });
  return Object.fromEntries(entries) as Record<number, Documented>;
}

/** What a route that predicts can answer where there is no room, no power or no time left. */
export const overload = [
  new ServiceError('too_many_requests', '512 instances are waiting or running, the service takes 512 at a time', {
    retry_after_s: 1,
  }),
  new ServiceError('overloaded', '512 instances are waiting or running, the service takes 512 at a time', {
    retry_after_s: 1,
  }),
  new ServiceError(
    'power_budget',
    'the request needs 5 µJ, and the modelled power of the last 10 s leaves less of the 20 mW that the service may take',
    { retry_after_s: 2 },
  ),
  new ServiceError('deadline_exceeded', 'the answer was not there within the 250 ms that the request gave', {
    timeout_ms: 250,
  }),
];

/** What any route whose body counts among those that are buffered can answer. */
export const noRoom = (['too_many_requests', 'overloaded'] as const).map(
  (code) =>
    new ServiceError(
      code,
      '268000000 bytes of bodies are being read or answered, the service takes 268435456 at a time',
      {
        retry_after_s: 1,
      },
    ),
);

/** Examples of the problems that many routes share. */
export const example = {
  unknownField: new ServiceError('unknown_field', 'query: expected only version, got "verison"', {
    field: 'verison',
    expected: 'only version',
    actual: '"verison"',
  }),
  invalidField: new ServiceError('invalid_field', 'bits: expected one of 2, 3, 4, 5, 6, 7, 8, 16, 32, got 9', {
    field: 'bits',
    expected: 'one of 2, 3, 4, 5, 6, 7, 8, 16, 32',
    actual: '9',
  }),
  modelNotFound: new ServiceError('model_not_found', 'model: expected one of mnist-lenet, got "mnist-lent"', {
    field: 'model',
    expected: ['mnist-lenet'],
    actual: 'mnist-lent',
  }),
  versionNotFound: new ServiceError('version_not_found', 'version: expected one of 1, 2, got 3', {
    field: 'version',
    expected: [1, 2],
    actual: 3,
  }),
  labelNotFound: new ServiceError('label_not_found', 'label: expected one of canary, stable, got "beta"', {
    field: 'label',
    expected: ['canary', 'stable'],
    actual: '"beta"',
  }),
  unauthorized: new ServiceError('unauthorized', 'authorization: expected "Bearer" and the admin token, got none', {
    expected: 'Bearer <admin token>',
    actual: 'none',
  }),
  jobNotFound: new ServiceError('job_not_found', 'job: expected the id of a job, got "7"', {
    field: 'id',
    expected: 'the id of a job',
    actual: '7',
  }),
  queueUnavailable: new ServiceError(
    'queue_unavailable',
    'expected the Redis server that keeps the jobs, it cannot be reached',
    { retry_after_s: 5 },
  ),
  emptyBody: new ServiceError('empty_body', 'body: expected a body (application/json), got nothing', {
    expected: 'a body (application/json)',
    actual: 'nothing',
  }),
  malformedJson: new ServiceError(
    'malformed_json',
    'body: expected a value at position 15, got NaN, which JSON does not have',
    {
      expected: 'a value',
      actual: 'NaN, which JSON does not have',
      position: 15,
    },
  ),
  partOfBody: new ServiceError('bad_request', 'body: expected all of it, got a part'),
  requestTimeout: new ServiceError('request_timeout', 'expected the whole request in time, got a part of it'),
  bodyTooLarge: new ServiceError('body_too_large', 'body: expected at most 16777216 bytes, got 104857600 bytes', {
    expected: 'at most 16777216 bytes',
    actual: '104857600 bytes',
  }),
  mediaType: new ServiceError('unsupported_media_type', 'content-type: expected application/json, got "text/plain"', {
    field: 'content-type',
    expected: 'application/json',
    actual: '"text/plain"',
  }),
};
