import Type, { type Static } from 'typebox';
import { ServiceError } from '../../errors.js';
import { JOB_STATES, type Job, type JobState } from '../../jobs/job.js';
import { AnyObject, nullable, strictObject } from './common.js';
import { body, example, json, problems } from './responses.js';

const State = Type.Unsafe<JobState>({ type: 'string', enum: [...JOB_STATES] });

export const SkippedFiles = Type.Object(
  {
    count: Type.Integer(),
    of: Type.Integer({ description: 'Files that were looked at' }),
    files: Type.Array(Type.String(), { description: 'The first few, and what is wrong with them' }),
  },
  { description: 'Files of the data set that cannot be read and are left out' },
);

const Progress = Type.Object({
  phase: Type.String({ description: 'waiting, preparing, training, calibrating, evaluating, publishing, done' }),
  progress: Type.Number({ description: '0..1 over all phases' }),
  epoch: Type.Integer(),
  epochs: Type.Integer(),
  step: Type.Integer(),
  steps: Type.Integer(),
  loss: nullable(Type.Number({ description: 'Mean cross-entropy of the epoch so far' })),
  accuracy: nullable(Type.Number({ description: 'On the validation images, after the last whole epoch' })),
  norm_weights: nullable(Type.Number({ description: '‖∇_w CE‖₁, mean of the epoch so far; null where not measured' })),
  norm_activations: nullable(Type.Number({ description: 'Σ‖∇_y CE‖₁, mean of the epoch so far' })),
  eta_s: nullable(Type.Number({ description: 'Seconds to go, at the speed of the last epoch' })),
  skipped: Type.Optional(SkippedFiles),
});

const Result = Type.Object({
  model: Type.String(),
  version: nullable(Type.Integer({ description: 'null where `publish` was false' })),
  digest: nullable(Type.String()),
  accuracies: Type.Record(Type.String(), Type.Number(), {
    description: 'By precision (`4x8`), on the held-out test set',
  }),
});

const Failure = Type.Object({ code: Type.String(), message: Type.String() });

const Origin = Type.Object(
  {
    request_id: Type.String({ description: 'Its x-request-id' }),
    traceparent: nullable(Type.String({ description: 'Its place in a W3C trace' })),
  },
  { description: 'The request that asked for the training' },
);

const JobView = Type.Object({
  id: Type.String(),
  state: State,
  request: AnyObject('The request with every default filled in'),
  created_at: Type.String(),
  started_at: nullable(Type.String()),
  finished_at: nullable(Type.String()),
  attempts: Type.Integer({ description: 'Times it was begun or gone on with; above 1 after a restart' }),
  progress: Progress,
  backend: nullable(Type.String({ description: 'Training backend that ran it' })),
  result: nullable(Result),
  error: nullable(Failure),
  origin: nullable(Origin),
});

export type JobView = Omit<Job, 'idempotencyKey' | 'requestHash'>;

/** What clients see of a job. */
export function jobView({ idempotencyKey: _key, requestHash: _hash, ...view }: Job): JobView {
  return view;
}

const running = {
  id: '01k3x9v7q2',
  state: 'running',
  request: { model: 'mnist-lenet', architecture: 'lenet', dataset: 'mnist', from: null, epochs: 5, batch_size: 64 },
  created_at: '2025-01-01T12:00:00.000Z',
  started_at: '2025-01-01T12:00:00.100Z',
  finished_at: null,
  attempts: 1,
  progress: {
    phase: 'training',
    progress: 0.31,
    epoch: 1,
    epochs: 5,
    step: 450,
    steps: 4690,
    loss: 0.21,
    accuracy: 0.97,
    norm_weights: 24.1,
    norm_activations: 0.62,
    eta_s: 312,
  },
  backend: 'wasm',
  result: null,
  error: null,
  origin: { request_id: 'f3b1c0de-1', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
};
const queued = {
  ...running,
  state: 'queued',
  started_at: null,
  attempts: 0,
  progress: {
    ...running.progress,
    phase: 'waiting',
    progress: 0,
    epoch: 0,
    step: 0,
    loss: null,
    accuracy: null,
    norm_weights: null,
    norm_activations: null,
    eta_s: null,
  },
  backend: null,
};

export const JobParams = strictObject({
  id: Type.String({ minLength: 1, maxLength: 64, description: 'Id of the job', examples: [running.id] }),
});

const one = Type.Object({ job: JobView });

export const trainAnswers = {
  202: json(
    'Accepted: the job survives a restart from here on',
    one,
    { job: queued },
    {
      location: Type.String({ description: 'Path of the job' }),
      'idempotency-replayed': Type.String({ description: '`true` where the key had made the job before' }),
    },
  ),
};

export const jobListResponses = {
  200: json('The jobs, newest first', Type.Object({ jobs: Type.Array(JobView) }), { jobs: [running] }),
  ...problems(example.unknownField, example.unauthorized, example.queueUnavailable),
};

export const jobResponses = {
  200: json('The job', one, { job: running }),
  ...problems(
    example.invalidField,
    example.unknownField,
    example.unauthorized,
    example.jobNotFound,
    example.queueUnavailable,
  ),
};

export const cancelResponses = {
  202: json('The cancel is recorded; a running job stops within one step', one, {
    job: { ...queued, state: 'cancelled' },
  }),
  ...problems(
    example.invalidField,
    example.unknownField,
    example.unauthorized,
    example.jobNotFound,
    new ServiceError('job_finished', 'the job has already ended: it is succeeded', { state: 'succeeded' }),
    example.queueUnavailable,
  ),
};

export const EventHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({
      pattern: '^\\d{1,15}$',
      'x-expected': 'the id of an event (a whole number)',
      description: 'Only events after this one; a browser sends it when it connects again',
      examples: ['41'],
    }),
  ),
});
export type EventHeaders = Static<typeof EventHeaders>;

const { id, state, attempts, progress, result, error, backend } = running;
const frame = JSON.stringify({ id, state, attempts, progress, result, error, backend });

export const eventResponses = {
  200: body(
    'text/event-stream',
    'Server-sent events `state` and `progress`, past ones first; the stream ends with the job. Comments keep it alive',
    Type.String(),
    `retry: 2000\n\nid: 42\nevent: progress\ndata: ${frame}\n\n`,
  ),
  204: { description: 'The job has ended and there are no events after Last-Event-ID', type: 'null' },
  ...problems(
    example.invalidField,
    example.unknownField,
    example.unauthorized,
    example.jobNotFound,
    example.queueUnavailable,
  ),
};
