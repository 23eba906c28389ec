import type { FastifyRequest } from 'fastify';
import type { Repository } from '../oip/repository.js';
import { type AdminGuard, bearerToken } from '../plugins/auth.js';
import { anyBodies, JSON_TYPE } from '../plugins/bodies.js';
import { type BufferedBytes, countBodies } from '../plugins/buffered-bytes.js';
import { readJson } from '../plugins/json.js';
import { bodyCheckedByCore, checked, validatorCompiler } from '../plugins/validation.js';
import { NoQuery } from '../schemas/common.js';
import { ControlBody, controlResponses, IndexBody, InferenceModel, indexResponses } from '../schemas/oip.js';
import type { App } from '../types.js';

interface Options {
  repository: Repository;
  maxBodyBytes: number;
}

const tags = ['open-inference-protocol'];
const security = [{ adminToken: [] }];
const config = { accepts: [JSON_TYPE], bodyOptional: true, decompresses: true };
const checkIndex = validatorCompiler({ schema: IndexBody, method: 'POST', url: '', httpPart: 'body' });
const checkControl = validatorCompiler({ schema: ControlBody, method: 'POST', url: '', httpPart: 'body' });

/** Open to everybody, so that their bodies count among those of predictions. */
export function repositoryIndexRoutes(
  app: App,
  { repository, buffered, maxBodyBytes }: Options & { buffered: BufferedBytes },
): void {
  countBodies(app, buffered);
  anyBodies(app, maxBodyBytes);
  app.post(
    '/v2/repository/index',
    {
      schema: {
        operationId: 'inferenceIndex',
        tags,
        summary: 'The models and whether each answers',
        querystring: NoQuery,
        body: IndexBody,
        response: indexResponses,
      },
      config,
      validatorCompiler: bodyCheckedByCore,
    },
    async (request) => repository.index(readBody<IndexBody>(request, checkIndex).ready ?? false),
  );
}

/** They change what this replica serves, so they take the admin token. */
export function repositoryControlRoutes(app: App, { repository, maxBodyBytes }: Options, guard: AdminGuard): void {
  bearerToken(app, guard);
  anyBodies(app, maxBodyBytes);
  const actions = {
    load: 'Make the default variant of a model resident, and answer again if it was unloaded',
    unload: 'Drop the variants of a model and answer no more for it, on this replica until it is loaded',
  };
  for (const action of ['load', 'unload'] as const) {
    app.post(
      `/v2/repository/models/:model/${action}`,
      {
        schema: {
          operationId: `inference${action === 'load' ? 'Load' : 'Unload'}`,
          tags,
          summary: actions[action],
          security,
          params: InferenceModel,
          querystring: NoQuery,
          body: ControlBody,
          response: controlResponses,
        },
        config,
        validatorCompiler: bodyCheckedByCore,
      },
      async (request) => {
        readBody(request, checkControl);
        const { model } = request.params;
        await repository[action](model);
        request.log.info({ model }, action === 'load' ? 'model loaded' : 'model unloaded');
        return {};
      },
    );
  }
}

/** The JSON of a body, which may be empty. */
function readBody<T>({ body }: FastifyRequest, check: (data: unknown) => unknown): Partial<T> {
  const bytes = body as Buffer | undefined;
  if (bytes === undefined || bytes.length === 0) return {};
  return checked<T & object>(check, readJson(bytes));
}
