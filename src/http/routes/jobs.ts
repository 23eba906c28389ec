import type { JobQueue } from '../../jobs/job.js';
import { type Known, parseTrainRequest } from '../../jobs/validation.js';
import { JSON_TYPE } from '../plugins/bodies.js';
import { bodyCheckedByCore } from '../plugins/validation.js';
import { NoQuery } from '../schemas/common.js';
import { cancelResponses, JobParams, jobListResponses, jobResponses, jobView } from '../schemas/jobs.js';
import { TrainBody, TrainHeaders, trainResponses } from '../schemas/train.js';
import type { App } from '../types.js';

const security = [{ adminToken: [] }];

interface Options {
  queue: JobQueue;
  /** The names that a training may use, as they are now. */
  known(): Promise<Known>;
}

export function jobRoutes(app: App, { queue, known }: Options): void {
  app.post(
    '/train',
    {
      schema: {
        operationId: 'train',
        tags: ['admin'],
        summary: 'Train a version, in the background',
        security,
        querystring: NoQuery,
        headers: TrainHeaders,
        body: TrainBody,
        response: trainResponses,
      },
      config: { accepts: [JSON_TYPE] },
      validatorCompiler: bodyCheckedByCore,
    },
    async (request, reply) => {
      const wanted = parseTrainRequest(request.body, await known());
      const { job, created } = await queue.submit(wanted, request.headers['idempotency-key'] ?? null, {
        request_id: request.id,
        traceparent: request.facts.trace?.parent ?? null,
      });
      request.log.info({ job: job.id, model: wanted.model, created }, 'training accepted');
      if (!created) reply.header('idempotency-replayed', 'true');
      return reply
        .code(202)
        .header('location', `/admin/jobs/${job.id}`)
        .send({ job: jobView(job) });
    },
  );

  app.get(
    '/jobs',
    {
      schema: {
        operationId: 'listJobs',
        tags: ['admin'],
        summary: 'The training jobs, newest first',
        security,
        querystring: NoQuery,
        response: jobListResponses,
      },
    },
    async () => ({ jobs: (await queue.list()).map(jobView) }),
  );

  app.get(
    '/jobs/:id',
    {
      schema: {
        operationId: 'getJob',
        tags: ['admin'],
        summary: 'One training job: state, progress, result',
        security,
        params: JobParams,
        querystring: NoQuery,
        response: jobResponses,
      },
    },
    async (request) => ({ job: jobView(await queue.get(request.params.id)) }),
  );

  app.delete(
    '/jobs/:id',
    {
      schema: {
        operationId: 'cancelJob',
        tags: ['admin'],
        summary: 'Cancel a training job',
        security,
        params: JobParams,
        querystring: NoQuery,
        response: cancelResponses,
      },
    },
    async (request, reply) => {
      const job = await queue.cancel(request.params.id);
      request.log.info({ job: job.id }, 'cancel recorded');
      return reply.code(202).send({ job: jobView(job) });
    },
  );
}
