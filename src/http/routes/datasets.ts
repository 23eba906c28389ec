import type { Readable } from 'node:stream';
import type { DatasetCatalog } from '../parts.js';
import { ARCHIVE_TYPES, archiveBodies } from '../plugins/bodies.js';
import { NoQuery } from '../schemas/common.js';
import {
  addResponses,
  archiveBody,
  DatasetParams,
  DatasetQuery,
  listResponses,
  removeResponses,
} from '../schemas/datasets.js';
import type { App } from '../types.js';

const security = [{ adminToken: [] }];

export function datasetRoutes(app: App, { datasets }: { datasets: DatasetCatalog }): void {
  app.get(
    '/datasets',
    {
      schema: {
        operationId: 'listDatasets',
        tags: ['admin'],
        summary: 'The data sets that a training can name',
        security,
        querystring: NoQuery,
        response: listResponses,
      },
    },
    async () => ({ datasets: await datasets.list() }),
  );

  void app.register(async (scope) => uploadRoute(scope as App, datasets));

  app.delete(
    '/datasets/:name',
    {
      schema: {
        operationId: 'removeDataset',
        tags: ['admin'],
        summary: 'Remove a data set that no job uses',
        security,
        params: DatasetParams,
        querystring: NoQuery,
        response: removeResponses,
      },
    },
    async (request, reply) => {
      await datasets.remove(request.params.name);
      request.log.info({ dataset: request.params.name }, 'data set removed');
      return reply.code(204).send();
    },
  );
}

/** In a scope of its own, which reads archives and nothing else. */
function uploadRoute(app: App, datasets: DatasetCatalog): void {
  archiveBodies(app);
  app.post(
    '/datasets',
    {
      schema: {
        operationId: 'addDataset',
        tags: ['admin'],
        summary: 'Upload a data set as a tar archive',
        security,
        querystring: DatasetQuery,
        body: archiveBody,
        response: addResponses,
      },
      config: { accepts: [...ARCHIVE_TYPES], upload: true },
    },
    async (request, reply) => {
      const { name, replace = 'false' } = request.query;
      const dataset = await datasets.add(name, request.body as Readable, { replace: replace === 'true' });
      request.log.info({ dataset: name, kind: dataset.kind, examples: dataset.examples }, 'data set added');
      return reply.code(201).send(dataset);
    },
  );
}
